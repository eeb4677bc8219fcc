/** Floor 2: formats that are signed, and nothing of what they mean. */
export * from "./dsse.ts";
export { jcs } from "./jcs.ts";
export * from "./pem.ts";
