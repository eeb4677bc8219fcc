/** Providers that send the key back in pieces, in every place of a reply: no half of it stays in the gateway's memory. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { sealValue } from "../../src/secrets/index.ts";
import { canRead, scan, talkTo } from "./memory-support.ts";
import { ask } from "./support.ts";

const HALF = 34;
const HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

/** What is written at once, one after the other. */
const ways: Readonly<Record<string, (one: string, two: string) => readonly string[]>> = {
  "body of known length": (one, two) => [`${HEAD}content-length: ${one.length + two.length}\r\n\r\n${one}`, two],
  "chunks in one write": (one, two) => [
    `${HEAD}transfer-encoding: chunked\r\n\r\n${hex(one)}\r\n${one}\r\n${hex(two)}\r\n${two}\r\n0\r\n\r\n`,
  ],
  "chunks in writes": (one, two) => [
    `${HEAD}transfer-encoding: chunked\r\n\r\n${hex(one)}\r\n${one}\r\n`,
    `${hex(two)}\r\n${two}\r\n0\r\n\r\n`,
  ],
  header: (one, two) => [`${HEAD}x-key: ${one}`, `${two}\r\ncontent-length: 2\r\n\r\n{}`],
  "header after an early one": (one, two) => [
    `HTTP/1.1 103 Early Hints\r\n\r\n${HEAD}x-key: ${one}`,
    `${two}\r\ncontent-length: 2\r\n\r\n{}`,
  ],
  "status line": (one, two) => [`HTTP/1.1 200 ${one}`, `${two}\r\ncontent-length: 2\r\n\r\n{}`],
  "refusal that nobody reads": (one, two) => [
    `HTTP/1.1 500 No\r\ncontent-length: ${one.length + two.length}\r\n\r\n${one}`,
    two,
  ],
  "no HTTP": (one, two) => [`${HEAD}content-length: 2\r\n\r\n{}${one}`, two],
  "a half and the end": (one) => [`${HEAD}content-length: 100\r\n\r\n${one}`],
};

const hex = (text: string) => text.length.toString(16);

async function startProvider(t: TestContext, key: string) {
  const provider = { way: "", connections: 0, port: 0 };
  const server = net.createServer((socket) => {
    provider.connections++;
    socket.setNoDelay(true);
    socket.on("error", () => undefined);
    socket.on("data", async () => {
      const pieces = ways[provider.way]?.(key.slice(0, HALF), key.slice(HALF)) ?? [];
      for (const piece of pieces) {
        socket.write(piece);
        await sleep(5);
      }
      if (provider.way === "a half and the end" || provider.way === "no HTTP") socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  provider.port = (server.address() as net.AddressInfo).port;
  return provider;
}

test("halves of a key, wherever they come in a reply, are in no memory that can be read", {
  timeout: 200_000,
}, async (t) => {
  if (process.platform !== "linux" || !canRead(process.pid))
    return t.skip("needs Linux and the right to read /proc/PID/mem: run as root");
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-pieces-"));
  const child = fork(fileURLToPath(new URL("memory-child.ts", import.meta.url)), [folder], { execArgv: [] });
  t.after(() => {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  const key = `sk-canary-${randomBytes(24).toString("hex")}`;
  const provider = await startProvider(t, key);
  const { ready, send } = talkTo(child);
  const sealed = sealValue(Buffer.from(key), await ready, { direction: "put", name: "openai-key" });
  const { port } = await send<{ port: number }>({
    do: "start",
    baseUrl: `http://127.0.0.1:${provider.port}/v1`,
    sealed,
  });
  const pieces = [key.slice(14, 30), key.slice(HALF, HALF + 16), key.slice(HALF + 8)];
  const needles = new Map(
    pieces.flatMap((piece, at) => [
      [`piece ${at}`, Buffer.from(piece)] as const,
      [`piece ${at}, two bytes a letter`, Buffer.from(piece, "utf16le")] as const,
    ]),
  );
  for (const way of Object.keys(ways)) {
    provider.way = way;
    for (let round = 0; round < 5; round++) {
      const got = await ask(port, "small");
      if (way !== "a half and the end")
        assert.ok(
          pieces.every((piece) => !got.raw.includes(piece)),
          way,
        );
    }
    await sleep(100);
    const { hits } = scan(child.pid ?? 0, needles);
    // The client's connection has ended meanwhile: it must hear of it.
    await sleep(20);
    t.diagnostic(`${way}: ${hits.length} pieces`);
    assert.deepEqual(hits, [], way);
  }
  await send({ do: "hold", hex: Buffer.from(key).toString("hex") });
  assert.ok(scan(child.pid ?? 0, needles).hits.length > 0, "the search finds what is there");
});
