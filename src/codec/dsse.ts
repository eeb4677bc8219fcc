/** DSSE: the envelope around a signed payload, and the bytes that are signed (secure-systems-lab/dsse, protocol.md). */
import { z } from "zod";
import { concatBytes, fromBase64, parseJson, toBase64, utf8 } from "../base/index.ts";
import { codecError } from "./errors.ts";

export interface DsseSignature {
  readonly keyId: string | undefined;
  readonly signature: Uint8Array;
}

export interface DsseEnvelope {
  readonly payloadType: string;
  readonly payload: Uint8Array;
  readonly signatures: readonly DsseSignature[];
}

const MAX_SIGNATURES = 16;
const MAX_PAYLOAD_TYPE_CHARACTERS = 256;
/** An envelope as text, in bytes: a statement about as many files as a model may have. */
const MAX_ENVELOPE_BYTES = 64 * 1024 * 1024;

const schema = z.object({
  payload: z.string(),
  payloadType: z.string().min(1).max(MAX_PAYLOAD_TYPE_CHARACTERS),
  signatures: z
    .array(z.object({ keyid: z.string().max(512).nullish(), sig: z.string().max(4_096) }))
    .min(1)
    .max(MAX_SIGNATURES),
});

/** "DSSEv1" SP len(type) SP type SP len(payload) SP payload: what the signature covers. */
export function dssePae(payloadType: string, payload: Uint8Array): Uint8Array {
  const type = utf8(payloadType);
  return concatBytes(utf8(`DSSEv1 ${type.length} `), type, utf8(` ${payload.length} `), payload);
}

/** Takes bytes, text, or JSON that was parsed already. Throws DSSE_INVALID. */
export function parseDsse(input: Uint8Array | string | object): DsseEnvelope {
  const isText = typeof input === "string" || input instanceof Uint8Array;
  const value = isText ? parseJson(input, { what: "DSSE envelope", maxBytes: MAX_ENVELOPE_BYTES }) : input;
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw codecError("DSSE_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
  return {
    payloadType: parsed.data.payloadType,
    payload: base64Field(parsed.data.payload, "payload"),
    signatures: parsed.data.signatures.map(({ keyid, sig }) => ({
      keyId: keyid || undefined,
      signature: base64Field(sig, "sig"),
    })),
  };
}

export function dsseToJson(envelope: DsseEnvelope): {
  payload: string;
  payloadType: string;
  signatures: { sig: string; keyid?: string }[];
} {
  return {
    payload: toBase64(envelope.payload),
    payloadType: envelope.payloadType,
    signatures: envelope.signatures.map(({ keyId, signature }) => ({
      ...(keyId === undefined ? {} : { keyid: keyId }),
      sig: toBase64(signature),
    })),
  };
}

function base64Field(text: string, name: string): Uint8Array {
  const bytes = fromBase64(text);
  if (!bytes) throw codecError("DSSE_INVALID", { detail: `${name} is not base64` });
  return bytes;
}
