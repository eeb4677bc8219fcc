/** Ports for programs that cannot choose one by themselves. */
import { randomInt } from "node:crypto";
import { createServer } from "node:net";

/** Below those that the system gives to whoever asks for any, so that nobody else gets them in between. */
const [FIRST, COUNT] = [20_000, 10_000];

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  const free = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false)).listen(port, "127.0.0.1", () => resolve(true));
  });
  if (free) await new Promise((resolve) => server.close(resolve));
  return free;
}

/** The first of two neighbours on loopback, both free. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = FIRST + 2 * randomInt(COUNT / 2);
    if ((await isFree(port)) && (await isFree(port + 1))) return port;
  }
}
