/** Certificates of the recorded evidence, and helpers of the certificate tests. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { ModelkeepError } from "../../src/base/index.ts";
import { type Certificate, parseCertificate, parsePem } from "../../src/codec/index.ts";

export const vectors = process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors");
export const ABSENT = "no vectors: set MODELKEEP_VECTORS to the folder with tee/ and oms/";
export const hasVectors = existsSync(join(vectors, "tee"));

export const readVector = (...path: string[]) => new Uint8Array(readFileSync(join(vectors, ...path)));

/** The certificates of a PEM file, first to last. */
export function readChain(...path: string[]): Certificate[] {
  return parsePem(Buffer.from(readVector(...path)).toString("latin1")).map(({ der }) => parseCertificate(der));
}

/** A leaf and its chain from one file. */
export function readLeafAndChain(...path: string[]): { leaf: Certificate; rest: Certificate[] } {
  const [leaf, ...rest] = readChain(...path);
  if (!leaf) throw new Error(`${path.join("/")} holds no certificate`);
  return { leaf, rest };
}

const BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Every certificate in a folder of vectors: PEM, inside of JSON too, and files that end in .der but lists. */
export function allCertificates(folder: string): { file: string; der: Uint8Array }[] {
  return filesBelow(join(vectors, folder)).flatMap((file) => {
    const bytes = readFileSync(file);
    if (file.endsWith(".der")) return /crl/i.test(file) ? [] : [{ file, der: new Uint8Array(bytes) }];
    const text = bytes.toString("latin1").replaceAll("\\n", "\n");
    return [...text.matchAll(BLOCK)].flatMap(([block]) => parsePem(`${block}\n`).map(({ der }) => ({ file, der })));
  });
}

export function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesBelow(path) : [path];
  });
}

/** The code of what `work` throws; undefined when it throws nothing. Anything but a coded error is thrown on. */
export function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    if (error instanceof ModelkeepError) return error.code;
    throw error;
  }
  return undefined;
}

/** How long a fuzz test runs. */
export const fuzzMs = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 2) * 1000;

/** Every way to flip one bit, or as many of them as `most`, spread evenly. */
export function* bitFlips(bytes: Uint8Array, most = Number.POSITIVE_INFINITY): Generator<Uint8Array> {
  const step = Math.max(1, Math.ceil((bytes.length * 8) / most));
  for (let bit = 0; bit < bytes.length * 8; bit += step) {
    const copy = Uint8Array.from(bytes);
    copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    yield copy;
  }
}
