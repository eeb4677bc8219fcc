/** Reads the memory of the process that runs a gateway, and talks to that process. */
import { type ChildProcess, execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import type { TransportKey } from "../../src/secrets/index.ts";

export interface Hit {
  readonly form: string;
  readonly region: string;
  readonly locked: boolean;
  readonly dumped: boolean;
}

export function formsOf(key: string): Map<string, Buffer> {
  return new Map([
    ["whole", Buffer.from(key)],
    ["fragment", Buffer.from(key.slice(10, 30))],
    ["utf-16", Buffer.from(key.slice(10, 30), "utf16le")],
    ["base64", Buffer.from(Buffer.from(key.slice(9, 36)).toString("base64"))],
  ]);
}

/** Reads every readable page of another process through /proc/PID/mem, as root would. */
export function scan(pid: number, needles: ReadonlyMap<string, Buffer>): { hits: Hit[]; bytes: number } {
  const smaps = fs.readFileSync(`/proc/${pid}/smaps`, "latin1").split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  const mem = fs.openSync(`/proc/${pid}/mem`, "r");
  const block = Buffer.alloc(4 * 1024 * 1024 + 256);
  const hits: Hit[] = [];
  let bytes = 0;
  for (const entry of smaps) {
    const [, from = "0", to = "0"] = /^([0-9a-f]+)-([0-9a-f]+)/.exec(entry) ?? [];
    if (/\[vvar|\[vsyscall/.test(entry) || isAway(entry)) continue;
    const flags = /VmFlags:(.*)/.exec(entry)?.[1] ?? "";
    for (let at = BigInt(`0x${from}`); at < BigInt(`0x${to}`); at += 4n * 1024n * 1024n) {
      const left = Number(BigInt(`0x${to}`) - at);
      let read = 0;
      try {
        read = fs.readSync(mem, block, 0, Math.min(left, block.length), at);
      } catch {
        continue;
      }
      bytes += read;
      for (const [form, needle] of needles) {
        for (let i = block.indexOf(needle); i >= 0 && i + needle.length <= read; i = block.indexOf(needle, i + 1)) {
          if (i >= 4 * 1024 * 1024) break;
          hits.push({
            form,
            region: entry.split("\n")[0] ?? "",
            locked: / lo\b/.test(flags),
            dumped: !/ dd\b/.test(flags),
          });
        }
      }
    }
  }
  fs.closeSync(mem);
  return { hits, bytes };
}

export function makeCertificate(folder: string): { key: Buffer; cert: Buffer } | undefined {
  try {
    const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    const files = ["-keyout", join(folder, "tls.key"), "-out", join(folder, "tls.crt")];
    execFileSync("openssl", [...args, ...files, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], {
      stdio: "ignore",
    });
    return { key: fs.readFileSync(join(folder, "tls.key")), cert: fs.readFileSync(join(folder, "tls.crt")) };
  } catch {
    return undefined;
  }
}

export function talkTo(child: ChildProcess) {
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let next = 1;
  child.on("message", (message: { id: number; reply: never; error?: string }) => {
    const who = waiting.get(message.id);
    if (message.error) who?.reject(new Error(message.error));
    else who?.resolve(message.reply);
  });
  child.on("exit", (code) => {
    for (const who of waiting.values()) who.reject(new Error(`the child ended with ${code}`));
  });
  const heard = <T>(id: number) =>
    new Promise<T>((resolve, reject) => waiting.set(id, { resolve: resolve as never, reject }));
  return {
    ready: heard<TransportKey>(0),
    send<T>(message: Record<string, unknown>): Promise<T> {
      const id = next++;
      const reply = heard<T>(id);
      child.send({ id, ...message });
      return reply;
    },
  };
}

export function canRead(pid: number): boolean {
  try {
    fs.readFileSync(`/proc/${pid}/smaps`);
    fs.closeSync(fs.openSync(`/proc/${pid}/mem`, "r"));
    return true;
  } catch {
    return false;
  }
}

/** No page of it is in memory or in swap. */
function isAway(entry: string): boolean {
  return /^Rss: +0 kB$/m.test(entry) && /^Swap: +0 kB$/m.test(entry);
}

/** What gdb can write of a running process; undefined without gdb. */
export function dumpCore(pid: number, folder: string): string | undefined {
  try {
    execFileSync("gcore", ["-o", join(folder, "core"), String(pid)], { stdio: "ignore" });
    return join(folder, `core.${pid}`);
  } catch {
    return undefined;
  }
}
