/** The Python reference as a process that signs and verifies for the tests, many times for one start. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { modelSigningPython, modelSigningScript } from "../../tools/peers/places.ts";

export interface Request {
  readonly op: "sign" | "verify";
  readonly model: string;
  readonly signature: string;
  /** Paths of PEM files. */
  readonly key?: string;
  readonly certificate?: string;
  readonly chain?: readonly string[];
  readonly public_key?: string;
  readonly ca?: readonly string[];
  readonly identity?: string;
  readonly issuer?: string;
  /** A file with the roots of a Sigstore instance; nothing is fetched then. */
  readonly trust_config?: string;
  /** `blake2` is what it calls BLAKE2b. */
  readonly hash?: "sha256" | "blake2" | "blake3";
  readonly shard_size?: number;
  readonly allow_symlinks?: boolean;
  /** Absolute paths. */
  readonly ignore?: readonly string[];
  readonly ignore_unsigned?: boolean;
  /** To verify by what the signature says of hashes, as its command line does. */
  readonly guess?: boolean;
}

export interface Answer {
  readonly ok: boolean;
  readonly error?: string;
  readonly seconds: number;
  readonly peak_kib: number;
}

export interface Reference {
  ask(request: Request): Promise<Answer>;
  stop(): void;
}

export const REFERENCE_ABSENT = existsSync(modelSigningPython())
  ? undefined
  : "no model-signing from PyPI: node tools/peers.ts model-signing";

export function startReference(): Reference {
  const child = spawn(modelSigningPython(), [modelSigningScript], { stdio: ["pipe", "pipe", "ignore"] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async ask(request) {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const line = await lines.next();
      if (line.done) throw new Error("the reference ended");
      return JSON.parse(line.value) as Answer;
    },
    stop: () => child.stdin.end(),
  };
}
