/** Tampers with sealed models at random, under the engine that the environment names; says how often, and fails where something was let through. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { openBlobStore } from "../../src/artifact/index.ts";
import { createKeyFile, openKeyWrapper } from "../../src/backends/index.ts";
import { ModelkeepError } from "../../src/base/index.ts";
import { chooseAead, systemRandom as random } from "../../src/host/index.ts";
import { type LeafHashName, openIntoFolder, openWithKms, sealModel } from "../../src/sealing/index.ts";
import { loadEcSigner, signModel, signStatement, trustKeys, verifyBundle } from "../../src/signing/index.ts";

const RUNS = Number(process.argv[2] ?? 12);
const MIB = 1024 * 1024;
const SEGMENT = MIB + 32;
const HEADER = 74;

/** What says "refused" or "cannot be read". */
const REFUSALS = new Set([
  ...["SEALED_TAMPERED", "SEALED_INVALID", "ENVELOPE_INVALID", "NO_KEY_SERVICE", "UNWRAP_FAILED", "INVALID_JSON"],
  ...["SIGNATURE_INVALID", "SIGNER_NOT_TRUSTED", "SIGNING_METHOD_UNSUPPORTED", "BUNDLE_INVALID", "DSSE_INVALID"],
  ...[
    "STATEMENT_INVALID",
    "MANIFEST_INVALID",
    "BLAKE3_MISSING",
    "BLOB_NOT_FOUND",
    "LIMIT_EXCEEDED",
    "BUNDLE_UNSUPPORTED",
  ],
]);

const home = mkdtempSync(join(tmpdir(), "modelkeep-tamper-"));
process.on("exit", () => rmSync(home, { recursive: true, force: true }));
const pattern = (length: number, seed: number) =>
  Buffer.alloc(
    length,
    Uint8Array.from({ length: 251 }, (_, at) => at ^ seed),
  );
const contents: Readonly<Record<string, Buffer>> = {
  "a.bin": pattern(3 * MIB + 77, 1),
  "b.bin": pattern(2 * MIB, 2),
  "c/small": pattern(100, 3),
  empty: Buffer.alloc(0),
};
const paths = Object.keys(contents);
const model = join(home, "model");
mkdirSync(join(model, "c"), { recursive: true });
for (const [path, bytes] of Object.entries(contents)) writeFileSync(join(model, path), bytes);

const pem = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" });
const signer = loadEcSigner(Buffer.from(pem));
const trust = trustKeys([signer.publicKeyPem]);
const kek = pathToFileURL(join(home, "models.kek")).href;
await createKeyFile(kek, random);
const wrappers = [await openKeyWrapper(kek, { random })];
const { bundle } = await signModel({ root: model, signer });
const manifest = verifyBundle(bundle, trust);

async function sealed(name: string, leafHash: LeafHashName): Promise<string> {
  const folder = join(home, name);
  const store = await openBlobStore(pathToFileURL(folder).href);
  await sealModel({ root: model, bundle, manifest, signer, wrappers, store, prefix: "", random, leafHash });
  return folder;
}

const packages = await Promise.all([
  sealed("one", "sha256"),
  sealed("two", "sha256+blake3"),
  sealed("three", "sha256"),
]);

interface Seen {
  readonly code: string | undefined;
  readonly files: ReadonlyMap<string, Buffer>;
}

/** Through memory, in order; and into a folder, by threads. Both must say the same. */
async function openBoth(folder: string, threads: number): Promise<Seen> {
  const store = await openBlobStore(pathToFileURL(folder).href);
  const chunks = new Map<string, Buffer[]>();
  const into = {
    async open(path: string) {
      const list: Buffer[] = [];
      chunks.set(path, list);
      return { write: async (chunk: Uint8Array) => void list.push(Buffer.from(chunk)), close: async () => undefined };
    },
  };
  const options = { store, prefix: "", trust, wrappers, random, threads };
  const code = await codeOf(() => openWithKms({ ...options, into }));
  const outputs = mkdtempSync(join(home, "out-"));
  const local = await codeOf(() => openIntoFolder(options, join(outputs, "model")));
  assert.equal(local, code, "memory and folder");
  if (code !== undefined) assert.deepEqual(readdirSync(outputs), [], "nothing stays");
  rmSync(outputs, { recursive: true });
  return { code, files: new Map([...chunks].map(([path, list]) => [path, Buffer.concat(list)])) };
}

async function codeOf(work: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof ModelkeepError, `not one of our errors: ${String(error)}`);
    return error.code;
  }
}

/** Refused, with nothing out of `path` from `reached` on, nothing of later files, and nothing untrue. */
function assertRefused({ code, files }: Seen, path: string, reached: number): void {
  assert.ok(code !== undefined && REFUSALS.has(code), `${path}: ${code}`);
  assert.ok(
    (files.get(path)?.length ?? 0) <= reached,
    `${path}: ${files.get(path)?.length} bytes, ${reached} were right`,
  );
  for (const later of paths.slice(paths.indexOf(path) + 1)) assert.equal(files.has(later), false, later);
  for (const [name, bytes] of files) assert.ok(contents[name]?.subarray(0, bytes.length).equals(bytes), name);
}

/** Changes one blob for the time of the work. */
async function withBlob(path: string, change: (bytes: Buffer) => Uint8Array, work: () => Promise<void>): Promise<void> {
  const original = readFileSync(path);
  const changed = change(Buffer.from(original));
  if (original.equals(changed)) return;
  writeFileSync(path, changed);
  tampered++;
  await work().finally(() => writeFileSync(path, original));
}

function flipped(bytes: Buffer, at: number, mask: number): Buffer {
  bytes[at] = (bytes[at] ?? 0) ^ mask;
  return bytes;
}

const chosen = fc.record({
  folder: fc.constantFrom(...packages),
  file: fc.nat(paths.length - 1),
  threads: fc.constantFrom(1, 3),
});
const segmentsOf = (file: number) => Math.max(1, Math.ceil((contents[paths[file] ?? ""]?.length ?? 0) / MIB));
const blobOf = (folder: string, file: number) => join(folder, `files/${file}.floe`);

let tampered = 0;
const property = async <T extends unknown[]>(name: string, check: fc.IAsyncProperty<T>, runs = RUNS) => {
  await fc.assert(check, { numRuns: runs }).catch((error: unknown) => {
    const { message, cause } = error instanceof Error ? error : new Error(String(error));
    throw new Error(`${name}: ${message}\n${cause instanceof Error ? cause.message : ""}`);
  });
};

/** Region, and where it lies within its segment of `length` bytes; "header" is the file's own. */
const regions: Readonly<Record<string, (length: number) => readonly [number, number]>> = {
  length: () => [0, 4],
  nonce: () => [4, 16],
  ciphertext: (length) => [16, length - 16],
  tag: (length) => [length - 16, length],
};

await property(
  "a byte of any region of any segment",
  fc.asyncProperty(
    chosen,
    fc.nat(),
    fc.constantFrom(...Object.keys(regions)),
    fc.nat(),
    fc.integer({ min: 1, max: 255 }),
    async ({ folder, file, threads }, at, region, offset, mask) => {
      const segment = at % segmentsOf(file);
      await withBlob(
        blobOf(folder, file),
        (bytes) => {
          const start = HEADER + segment * SEGMENT;
          const [from, to] = regions[region]?.(Math.min(SEGMENT, bytes.length - start)) ?? [0, 0];
          return to > from ? flipped(bytes, start + from + (offset % (to - from)), mask) : bytes;
        },
        async () => assertRefused(await openBoth(folder, threads), paths[file] ?? "", segment * MIB),
      );
    },
  ),
);

await property(
  "a byte of the header: parameters, IV, tag",
  fc.asyncProperty(
    chosen,
    fc.nat(HEADER - 1),
    fc.integer({ min: 1, max: 255 }),
    async ({ folder, file, threads }, at, mask) => {
      await withBlob(
        blobOf(folder, file),
        (bytes) => {
          return flipped(bytes, at, mask);
        },
        async () => assertRefused(await openBoth(folder, threads), paths[file] ?? "", 0),
      );
    },
  ),
);

await property(
  "cut or lengthened at any edge",
  fc.asyncProperty(
    chosen,
    fc.nat(),
    fc.integer({ min: -17, max: 17 }),
    fc.constantFrom("floe", "leaves"),
    async ({ folder, file, threads }, at, by, kind) => {
      await withBlob(
        join(folder, `files/${file}.${kind}`),
        (bytes) => {
          const unit = kind === "floe" ? SEGMENT : 32;
          const edges = [
            0,
            HEADER,
            ...Array.from({ length: 5 }, (_, index) => (kind === "floe" ? HEADER : 0) + index * unit),
            bytes.length,
          ];
          const length = Math.max(0, (edges[at % edges.length] ?? 0) + by);
          return length <= bytes.length
            ? bytes.subarray(0, length)
            : Buffer.concat([bytes, Buffer.alloc(length - bytes.length)]);
        },
        async () => assertRefused(await openBoth(folder, threads), paths[file] ?? "", 0),
      );
    },
  ),
);

await property(
  "a byte of the leaves",
  fc.asyncProperty(chosen, fc.nat(), fc.integer({ min: 1, max: 255 }), async ({ folder, file, threads }, at, mask) => {
    await withBlob(
      join(folder, `files/${file}.leaves`),
      (bytes) => {
        return flipped(bytes, at % bytes.length, mask);
      },
      async () => assertRefused(await openBoth(folder, threads), paths[file] ?? "", 0),
    );
  }),
);

await property(
  "a segment out of another place: of the file, another file, another sealing of the model",
  fc.asyncProperty(
    chosen,
    fc.nat(),
    fc.constantFrom(...packages),
    fc.nat(1),
    fc.nat(2),
    async ({ folder, threads }, at, other, otherFile, from) => {
      const segment = at % 2;
      const moved = readFileSync(blobOf(other, otherFile))
        .subarray(HEADER + from * SEGMENT)
        .subarray(0, SEGMENT);
      await withBlob(
        blobOf(folder, 0),
        (bytes) => {
          moved.copy(bytes, HEADER + segment * SEGMENT);
          return bytes;
        },
        async () => assertRefused(await openBoth(folder, threads), "a.bin", segment * MIB),
      );
    },
  ),
);

await property(
  "a blob in the place of another one, of this sealing or another",
  fc.asyncProperty(
    chosen,
    fc.constantFrom(...packages),
    fc.nat(paths.length - 1),
    fc.constantFrom("floe", "leaves"),
    async ({ folder, file, threads }, other, otherFile, kind) => {
      const moved = readFileSync(join(other, `files/${otherFile}.${kind}`));
      await withBlob(
        join(folder, `files/${file}.${kind}`),
        () => moved,
        async () => assertRefused(await openBoth(folder, threads), paths[file] ?? "", 0),
      );
    },
  ),
);

await property(
  "envelope or seal of another sealing of the same model",
  fc.asyncProperty(
    chosen,
    fc.constantFrom(...packages),
    fc.constantFrom("envelope.json", "seal.json"),
    async ({ folder, threads }, other, name) => {
      const moved = readFileSync(join(other, name));
      await withBlob(
        join(folder, name),
        () => moved,
        async () => assertRefused(await openBoth(folder, threads), "a.bin", 0),
      );
    },
  ),
  Math.ceil(RUNS / 2),
);

/** One change somewhere in a JSON value: where, and the changed value. */
function mutate(value: unknown, choose: (most: number) => number): { value: unknown; at: string } {
  const places: { at: string; parent: Record<string, unknown>; key: string }[] = [];
  const root = { "": structuredClone(value) } as Record<string, unknown>;
  const walk = (parent: Record<string, unknown>, key: string, at: string) => {
    places.push({ at, parent, key });
    const inner = parent[key];
    if (typeof inner !== "object" || inner === null) return;
    for (const name of Object.keys(inner))
      walk(inner as Record<string, unknown>, name, `${at}.${/^\d+$/.test(name) ? "N" : name}`);
  };
  walk(root, "", "");
  const here = places[1 + choose(places.length - 1)] ?? places[0];
  const other = places[choose(places.length)];
  if (!here || !other) return { value, at: "" };
  const { at, parent, key } = here;
  const old = parent[key];
  const ways: (() => void)[] = [
    () => (Array.isArray(parent) ? parent.splice(Number(key), 1) : delete parent[key]),
    () => (parent[key] = null),
    () => (parent[key] = structuredClone(other.parent[other.key])),
    () => (parent[key] = typeof old === "number" ? old + 1 : typeof old === "string" ? flip(old, choose) : [old, old]),
    () => (parent[key] = typeof old === "object" && old !== null && !Array.isArray(old) ? { ...old, extra: 1 } : [old]),
    () => (parent[key] = typeof old === "string" ? old.slice(0, choose(old.length + 1)) : "0"),
  ];
  ways[choose(ways.length)]?.();
  return { value: root[""], at };
}

function flip(text: string, choose: (most: number) => number): string {
  const at = choose(text.length || 1) % (text.length || 1);
  const letters = "0123456789abcdefXYZ+/=";
  return text.slice(0, at) + letters[choose(letters.length) % letters.length] + text.slice(at + 1);
}

/** Of a bundle, nobody signs what only helps to find the key, nor a field that nobody knows. */
const UNSIGNED =
  /^model\.sig (\.verificationMaterial(\..*)?|\.dsseEnvelope(\.signatures)?(\.N(\.keyid)?)?|\.mediaType)$|^seal\.json \.signatures(\.N(\.keyid)?)?$|^seal payload \.subject(\.N(\.name)?)?$/;
const accepted = new Set<string>();
const documents = ["envelope.json", "seal.json", "model.sig", "seal payload"] as const;

await property(
  "any change of any field of envelope, seal, signature, and of a seal that the right key signed",
  fc.asyncProperty(
    chosen,
    fc.constantFrom(...documents),
    fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
    async ({ folder }, document, numbers) => {
      const left = [...numbers];
      const choose = (most: number) => (most < 1 ? 0 : (left.shift() ?? 0) % most);
      const path = join(folder, document === "seal payload" ? "seal.json" : document);
      const original = JSON.parse(readFileSync(path, "utf8"));
      const isPayload = document === "seal payload";
      const { value, at } = mutate(
        isPayload ? JSON.parse(Buffer.from(original.payload, "base64").toString()) : original,
        choose,
      );
      const text = isPayload ? await signAgain(value) : JSON.stringify(value);
      if (text === undefined) return;
      await withBlob(
        path,
        () => Buffer.from(text),
        async () => {
          const seen = await openBoth(folder, 1);
          // What the right key says wrongly of a later file is found there.
          const place: [string, number] = isPayload ? ["empty", 0] : ["a.bin", 0];
          if (seen.code !== undefined) return assertRefused(seen, ...place);
          for (const [name, bytes] of Object.entries(contents)) assert.ok(seen.files.get(name)?.equals(bytes), name);
          if (meaningOf(text, isPayload) === meaningOf(JSON.stringify(original), isPayload)) return;
          accepted.add(`${document} ${at}`);
          assert.match(`${document} ${at}`, UNSIGNED, "the same model opened, but the change should have been noticed");
        },
      );
    },
  ),
  RUNS * 6,
);

/** What a new signature of ours says again, whatever was changed before it, is no change. */
function meaningOf(text: string, isPayload: boolean): string {
  return isPayload ? Buffer.from(JSON.parse(text).payload, "base64").toString() : text;
}

/** Undefined for a statement of a shape that our signer cannot sign. */
async function signAgain(statement: unknown): Promise<string | undefined> {
  const { predicateType, predicate, subject } = statement as {
    predicateType: string;
    predicate: object;
    subject: { name: string; digest: { sha256: string } }[];
  };
  try {
    const [{ name, digest }] = subject as [{ name: string; digest: { sha256: string } }];
    return await signStatement({ predicateType, predicate, rootDigest: digest.sha256, name, signer } as Parameters<
      typeof signStatement
    >[0]);
  } catch {
    return undefined;
  }
}

for (const folder of packages) assert.equal((await openBoth(folder, 1)).code, undefined, "everything is as it was");
assert.ok(existsSync(model));
process.stdout.write(
  JSON.stringify({ engine: (await chooseAead()).engine.name, tampered, accepted: [...accepted].sort() }),
);
