/** Floor 8: what an application imports: enrolment, a client that proves its requests, and the local agent. */
export * from "./agent.ts";
export * from "./check-out.ts";
export * from "./connect.ts";
export * from "./errors.ts";
export * from "./limits.ts";
