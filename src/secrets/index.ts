/** Floor 5: secrets and their leases. */
export * from "./dotenv.ts";
export * from "./driver.ts";
export { asSecretErrors } from "./drivers/keeper.ts";
export { type DriverPorts, openDrivers } from "./drivers/open.ts";
export * from "./errors.ts";
export * from "./forms.ts";
export * from "./limits.ts";
export { type OwnUsePorts, withOwnSecret } from "./own-use.ts";
export * from "./secrets.ts";
export * from "./service.ts";
export * from "./transport.ts";
