/** All collateral of a folder as one signed file, for servers that reach no network. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { fromBase64, type ModelkeepError, parseJson, toBase64, utf8 } from "../../base/index.ts";
import { dssePae, dsseToJson, parseDsse } from "../../codec/index.ts";
import { attestationError } from "../errors.ts";
import { COLLATERAL_LIMITS } from "./limits.ts";
import { type NamedFile, readCollateralSet } from "./set.ts";

export const BUNDLE_TYPE = "application/vnd.modelkeep.collateral+json";

/** Whoever signs; ECDSA in DER, as the signing module does it. */
export interface BundleSigner {
  readonly keyId: string;
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

export interface BundleKey {
  verifies(bytes: Uint8Array, signature: Uint8Array): boolean;
}

export interface CollateralBundle {
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly files: readonly NamedFile[];
}

/** A plain name: nothing that could be written outside of a folder. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$/;

const schema = z.strictObject({
  version: z.literal(1),
  created_at: z.iso.datetime(),
  files: z
    .array(
      z.strictObject({
        name: z.string().regex(NAME),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
        data: z.string().max(COLLATERAL_LIMITS.fileBytes * 2),
      }),
    )
    .min(1)
    .max(COLLATERAL_LIMITS.files),
});

const invalid = (detail: string, cause?: unknown): ModelkeepError =>
  attestationError("COLLATERAL_BUNDLE_INVALID", { detail, ...(cause ? { cause } : {}) });

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** The DSSE envelope as JSON text. Throws COLLATERAL_UNREADABLE for files that are none. */
export async function makeBundle({ createdAt, files }: CollateralBundle, signer: BundleSigner): Promise<string> {
  readCollateralSet(files);
  const payload = utf8(
    JSON.stringify({
      version: 1,
      created_at: new Date(createdAt).toISOString(),
      files: [...files]
        .sort((a, b) => (a.name < b.name ? -1 : 1))
        .map(({ name, bytes }) => ({ name, sha256: sha256(bytes), data: toBase64(bytes) })),
    }),
  );
  const signature = await signer.sign(dssePae(BUNDLE_TYPE, payload));
  const envelope = { payloadType: BUNDLE_TYPE, payload, signatures: [{ keyId: signer.keyId, signature }] };
  return `${JSON.stringify(dsseToJson(envelope))}\n`;
}

/** Throws COLLATERAL_BUNDLE_INVALID; nothing of the content is looked at before a trusted key signed it. */
export function openBundle(text: Uint8Array, keys: readonly BundleKey[]): CollateralBundle {
  const envelope = readEnvelope(text);
  if (envelope.payloadType !== BUNDLE_TYPE) throw invalid("another type of content");
  const signed = dssePae(envelope.payloadType, envelope.payload);
  const isTrusted = envelope.signatures.some(({ signature }) => keys.some((key) => key.verifies(signed, signature)));
  if (!isTrusted) throw invalid("no trusted key signed it");
  const parsed = schema.safeParse(readPayload(envelope.payload));
  if (!parsed.success) throw invalid(parsed.error.issues[0]?.path.join(".") ?? "content");
  const files = parsed.data.files.map(({ name, sha256: digest, data }) => {
    const bytes = fromBase64(data);
    if (!bytes || sha256(bytes) !== digest) throw invalid(name);
    return { name, bytes };
  });
  if (new Set(files.map(({ name }) => name.toLowerCase())).size !== files.length) throw invalid("a name comes twice");
  readCollateralSet(files);
  return { createdAt: Date.parse(parsed.data.created_at), files };
}

function readEnvelope(text: Uint8Array) {
  if (text.length > COLLATERAL_LIMITS.bundleBytes) throw invalid(`over ${COLLATERAL_LIMITS.bundleBytes} bytes`);
  try {
    return parseDsse(parseJson(text, { maxBytes: COLLATERAL_LIMITS.bundleBytes, what: "bundle" }) as object);
  } catch (error) {
    throw invalid("it is no DSSE envelope", error);
  }
}

function readPayload(payload: Uint8Array): unknown {
  try {
    return parseJson(payload, { maxBytes: COLLATERAL_LIMITS.bundleBytes, what: "bundle" });
  } catch (error) {
    throw invalid("content", error);
  }
}
