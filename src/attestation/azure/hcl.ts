/** The report of Azure's paravisor: a hardware report, and the runtime data whose digest that report is bound to. */
import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import { z } from "zod";
import { fromBase64Url, parseJson } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { AZURE_LIMITS } from "./limits.ts";

export interface HclReport {
  readonly kind: "snp" | "tdx";
  /** SNP: the 1184 bytes of the report; TDX: the 1024 bytes of a TDREPORT and padding. */
  readonly hardwareReport: Uint8Array;
  /** What the hardware must have been given: digest of the runtime data and zeros, 64 bytes. */
  readonly reportData: Uint8Array;
  /** The key of the virtual TPM that signs quotes, RSA. */
  readonly attestationKey: KeyObject;
  readonly vm: { readonly secureBoot?: boolean; readonly tpmEnabled?: boolean; readonly uniqueId?: string };
}

const { headerBytes, hardwareBytes, runtimeHeadBytes } = AZURE_LIMITS;
const KINDS: Readonly<Record<number, "snp" | "tdx">> = { 2: "snp", 4: "tdx" };
const HASHES: Readonly<Record<number, string>> = { 1: "sha256", 2: "sha384", 3: "sha512" };

const key = z.looseObject({ kid: z.string(), kty: z.string(), n: z.string().optional(), e: z.string().optional() });
const runtimeData = z.looseObject({
  keys: z.array(key).max(AZURE_LIMITS.keys),
  "vm-configuration": z
    .looseObject({
      "secure-boot": z.boolean().optional(),
      "tpm-enabled": z.boolean().optional(),
      vmUniqueId: z.string().max(64).optional(),
    })
    .optional(),
});

/** Throws EVIDENCE_REFUSED with `azure.hcl.format` or `azure.hcl.key`. */
export function parseHclReport(bytes: Uint8Array): HclReport {
  const runtimeAt = headerBytes + hardwareBytes + runtimeHeadBytes;
  if (bytes.length < runtimeAt || bytes.length > AZURE_LIMITS.hclBytes) throw malformed();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [dataBytes, dataVersion, reportType, hashType, variableBytes] = [0, 4, 8, 12, 16].map((place) =>
    view.getUint32(headerBytes + hardwareBytes + place, true),
  ) as [number, number, number, number, number];
  const end = runtimeAt + variableBytes;
  checkHeader(view, end);
  if (dataVersion !== 1 || dataBytes !== runtimeHeadBytes + variableBytes || end > bytes.length) throw malformed();
  // The TPM hands out a whole area of its memory: nothing may hide behind the report.
  if (bytes.subarray(end).some((byte) => byte !== 0)) throw malformed();
  const [kind, hash] = [KINDS[reportType], HASHES[hashType]];
  if (!kind || !hash) throw malformed();
  const runtime = bytes.subarray(runtimeAt, end);
  return {
    kind,
    hardwareReport: bytes.subarray(headerBytes, headerBytes + hardwareBytes),
    reportData: padded(createHash(hash).update(runtime).digest()),
    ...readRuntime(runtime),
  };
}

/** "HCLA", version 1 or 2, length, request 2, status 0, and zeros: nothing signs the header. */
function checkHeader(view: DataView, end: number): void {
  const word = (place: number) => view.getUint32(place, true);
  const known = view.getUint32(0) === 0x48434c41 && (word(4) === 1 || word(4) === 2);
  const rest = [16, 20, 24, 28].some((place) => word(place) !== 0);
  if (!known || word(8) !== end || word(12) !== 2 || rest) throw malformed();
}

function padded(digest: Uint8Array): Uint8Array {
  const out = new Uint8Array(64);
  out.set(digest);
  return out;
}

function readRuntime(bytes: Uint8Array) {
  const { keys, "vm-configuration": vm } = parseRuntime(bytes);
  const [found, ...more] = keys.filter(({ kid }) => kid === "HCLAkPub");
  if (!found || more.length > 0) throw evidenceRefused("azure.hcl.key");
  const [secureBoot, tpmEnabled, uniqueId] = [vm?.["secure-boot"], vm?.["tpm-enabled"], vm?.vmUniqueId];
  return {
    attestationKey: readKey(found),
    vm: {
      ...(secureBoot === undefined ? {} : { secureBoot }),
      ...(tpmEnabled === undefined ? {} : { tpmEnabled }),
      ...(uniqueId === undefined ? {} : { uniqueId }),
    },
  };
}

function parseRuntime(bytes: Uint8Array): z.output<typeof runtimeData> {
  try {
    return runtimeData.parse(parseJson(bytes, { maxBytes: AZURE_LIMITS.hclBytes, maxDepth: 8, what: "runtime data" }));
  } catch (error) {
    throw evidenceRefused("azure.hcl.format", error);
  }
}

function readKey({ kty, n = "", e }: z.output<typeof key>): KeyObject {
  const bits = (fromBase64Url(n)?.length ?? 0) * 8;
  if (kty !== "RSA" || e !== "AQAB" || bits < 2048 || bits > 4096) throw evidenceRefused("azure.hcl.key");
  try {
    return createPublicKey({ key: { kty, n, e }, format: "jwk" });
  } catch (error) {
    throw evidenceRefused("azure.hcl.key", error);
  }
}

const malformed = () => evidenceRefused("azure.hcl.format");
