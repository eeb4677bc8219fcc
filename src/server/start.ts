/** Starts the server. Its modules are loaded only then: other commands need the configuration alone and start faster. */
import type { RunningServer, ServerOptions } from "./server.ts";

/** Fails with what opening the store, the keys or the port fails with; nothing stays open then. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const server = await import("./server.ts");
  return server.startServer(options);
}
