/** The vectors of other implementations: their folders, their archives, their kinds of trust, and our verdict on one. */
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { ModelkeepError } from "../../src/base/index.ts";
import { type Trust, trustAuthorities, trustIdentities, trustKeys, verifyModel } from "../../src/signing/index.ts";
import { temporaryFolder } from "../sealing/support.ts";

export const vectors = join(
  process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors"),
  "oms",
);
export const ABSENT = existsSync(vectors) ? undefined : "no vectors: set MODELKEEP_VECTORS to the folder with oms/";
export const json = <T>(path: string) => JSON.parse(readFileSync(join(vectors, path), "utf8")) as T;
/** Inside the validity of every certificate of the vectors that is not made to be expired. */
export const AT = Date.UTC(2026, 10, 25);

/** The files of an archive: stored or deflated, no encryption, no ZIP64. */
export function readZip(path: string): Map<string, Buffer> {
  const zip = readFileSync(path);
  const end = zip.lastIndexOf(Buffer.from("PK\x05\x06", "latin1"));
  const found = new Map<string, Buffer>();
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    const [method, size, nameLength] = [
      zip.readUInt16LE(at + 10),
      zip.readUInt32LE(at + 20),
      zip.readUInt16LE(at + 28),
    ];
    const local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const name = zip.toString("utf8", at + 46, at + 46 + nameLength);
    const raw = zip.subarray(start, start + size);
    if (!name.endsWith("/")) found.set(name, method === 0 ? raw : inflateRawSync(raw));
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return found;
}

export function unpack(archive: string): string {
  const folder = temporaryFolder();
  for (const [path, content] of readZip(join(vectors, archive))) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

export const keysIn = (...paths: string[]): Trust => trustKeys(paths.map((path) => readFileSync(path, "utf8")));
export const authorityIn = (path: string, subject?: string): Trust =>
  trustAuthorities([{ pem: readFileSync(path), subject, anySubject: subject === undefined }], AT);
export const identity = (name: string, issuer: string): Promise<Trust> => trustIdentities([{ identity: name, issuer }]);

export interface Verdict {
  readonly exit: number;
  /** `verified`, `failed`, or the code of the error. */
  readonly code: string;
  readonly signed: readonly string[];
  readonly findings: readonly string[];
}

export interface JudgeOptions {
  readonly root: string;
  readonly bundle: string;
  readonly trust: Trust;
  readonly ignore?: readonly string[];
  readonly ignoreUnsigned?: boolean | undefined;
}

export async function judge({
  root,
  bundle,
  trust,
  ignore = [],
  ignoreUnsigned = false,
}: JudgeOptions): Promise<Verdict> {
  try {
    const report = await verifyModel({ root, bundle: readFileSync(bundle), trust, ignore, ignoreUnsigned });
    return {
      exit: report.verdict === "verified" ? 0 : 4,
      code: report.verdict,
      signed: report.manifest.resources.map(({ name }) => name),
      findings: report.findings.map(({ rule, path }) => `${rule} ${path}`),
    };
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, String(error));
    return { exit: error.exit, code: error.code, signed: [], findings: [] };
  }
}
