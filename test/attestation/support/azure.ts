/** An Azure machine of our own: the paravisor's report around a hardware report, and a TPM that quotes. */
import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { concatBytes, utf8 } from "../../../src/base/index.ts";

const digest = (hash: string, bytes: Uint8Array) => createHash(hash).update(bytes).digest();

let tpmKeys: { publicKey: KeyObject; privateKey: KeyObject } | undefined;
export function sharedTpmKeys() {
  tpmKeys ??= generateKeyPairSync("rsa", { modulusLength: 2048 });
  return tpmKeys;
}

export interface HclOptions {
  readonly reportType?: 2 | 4;
  readonly hash?: 1 | 2 | 3;
  readonly secureBoot?: boolean | undefined;
  readonly keys?: readonly object[];
  /** The whole runtime data. */
  readonly runtime?: string;
  readonly headerVersion?: number;
}

export function runtimeOf(options: HclOptions = {}): Uint8Array {
  const { secureBoot = true } = options;
  const { n, e } = sharedTpmKeys().publicKey.export({ format: "jwk" });
  const keys = options.keys ?? [{ kid: "HCLAkPub", key_ops: ["sign"], kty: "RSA", n, e }];
  const configuration = { "secure-boot": secureBoot, "tpm-enabled": true, vmUniqueId: "01020304-0506" };
  return utf8(options.runtime ?? JSON.stringify({ keys, "vm-configuration": configuration, "user-data": "00" }));
}

/** What the hardware is given for this runtime data. */
export function hclReportData(options: HclOptions = {}): Uint8Array {
  const hash = ["sha256", "sha384", "sha512"][(options.hash ?? 1) - 1] ?? "sha256";
  const out = new Uint8Array(64);
  out.set(digest(hash, runtimeOf(options)));
  return out;
}

/** Header, hardware report padded to 1184 bytes, runtime data; 2600 bytes as the TPM's memory has it. */
export function makeHcl(hardware: Uint8Array, options: HclOptions = {}): Uint8Array {
  const runtime = runtimeOf(options);
  const header = Buffer.alloc(32);
  header.write("HCLA", 0, "latin1");
  header.writeUInt32LE(options.headerVersion ?? 1, 4);
  header.writeUInt32LE(32 + 1184 + 20 + runtime.length, 8);
  header.writeUInt32LE(2, 12);
  const head = Buffer.alloc(20);
  const words = [20 + runtime.length, 1, options.reportType ?? 2, options.hash ?? 1, runtime.length];
  for (const [index, word] of words.entries()) head.writeUInt32LE(word, index * 4);
  const padded = Buffer.alloc(1184);
  padded.set(hardware);
  const report = concatBytes(header, padded, head, runtime);
  return concatBytes(report, new Uint8Array(Math.max(0, 2600 - report.length)));
}

export const PCRS: readonly Uint8Array[] = Array.from({ length: 24 }, (_, index) => new Uint8Array(32).fill(index));

export interface QuoteOptions {
  readonly extraData: Uint8Array;
  readonly pcrs?: readonly Uint8Array[];
  readonly selected?: readonly number[];
  readonly magic?: number;
  readonly type?: number;
  readonly bank?: number;
  readonly privateKey?: KeyObject;
}

export function makeQuote(options: QuoteOptions): { message: Uint8Array; signature: Uint8Array } {
  const { pcrs = PCRS, selected = pcrs.map((_, index) => index) } = options;
  const map = new Uint8Array(selected.some((index) => index > 23) ? 4 : 3);
  for (const index of selected) map[index >> 3] = (map[index >> 3] ?? 0) | (1 << (index & 7));
  const chosen = selected.map((index) => pcrs[index] ?? new Uint8Array());
  const message = concatBytes(
    word(options.magic ?? 0xff544347, 4),
    word(options.type ?? 0x8018, 2),
    sized(Uint8Array.of(0, 11, ...new Uint8Array(32))),
    sized(options.extraData),
    new Uint8Array(8 + 4 + 4 + 1 + 8),
    word(1, 4),
    word(options.bank ?? 0x000b, 2),
    Uint8Array.of(map.length),
    map,
    sized(digest("sha256", concatBytes(...chosen))),
  );
  const key = options.privateKey ?? sharedTpmKeys().privateKey;
  return { message, signature: new Uint8Array(sign("sha256", message, key)) };
}

function word(value: number, length: number): Uint8Array {
  const out = Buffer.alloc(length);
  out.writeUIntBE(value, 0, length);
  return out;
}

const sized = (bytes: Uint8Array) => concatBytes(word(bytes.length, 2), bytes);

export interface AzureJsonOptions {
  readonly hcl: Uint8Array;
  readonly quote: { readonly message: Uint8Array; readonly signature: Uint8Array };
  readonly pcrs?: readonly Uint8Array[];
  readonly vcek?: string;
  readonly version?: unknown;
  readonly more?: object;
}

export function azureJson({ hcl, quote, pcrs = PCRS, vcek, version = 2, more = {} }: AzureJsonOptions): Uint8Array {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const value = {
    ...(version === undefined ? {} : { version }),
    tpm_quote: { signature: hex(quote.signature), message: hex(quote.message), pcrs: pcrs.map(hex) },
    hcl_report: Buffer.from(hcl).toString("base64url"),
    ...(vcek === undefined ? {} : { vcek }),
    ...more,
  };
  return utf8(JSON.stringify(value));
}
