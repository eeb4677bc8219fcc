/** Floor 8: the server, its configuration and its log. */
export {
  type Config,
  type ConfigKey,
  configFolder,
  configSchema,
  dataFolder,
  loadConfig,
  splitListen,
} from "./config.ts";
export { createLog } from "./log.ts";
export { hardenServer } from "./memory.ts";
export type { RunningServer, ServerOptions } from "./server.ts";
export { startServer } from "./start.ts";
