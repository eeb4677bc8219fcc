/** The DSSE envelope of a statement: signed by a signer, its one signature checked with a key. */
import { type DsseEnvelope, dssePae } from "../codec/index.ts";
import { signingError } from "./errors.ts";
import type { ModelSigner, TrustedKey } from "./keys.ts";
import { STATEMENT_PAYLOAD_TYPE } from "./manifest.ts";
import type { Trust } from "./trust.ts";

export async function signEnvelope(payload: Uint8Array, signer: ModelSigner): Promise<DsseEnvelope> {
  const signature = await signer.sign(dssePae(STATEMENT_PAYLOAD_TYPE, payload));
  return { payloadType: STATEMENT_PAYLOAD_TYPE, payload, signatures: [{ keyId: undefined, signature }] };
}

/** The bytes that are signed and the one signature over them. Throws BUNDLE_INVALID. */
export function signedPart(envelope: DsseEnvelope): { signed: Uint8Array; signature: Uint8Array } {
  const [only, ...more] = envelope.signatures;
  if (envelope.payloadType !== STATEMENT_PAYLOAD_TYPE)
    throw signingError("BUNDLE_INVALID", { detail: `payload type ${envelope.payloadType}` });
  if (!only || more.length > 0)
    throw signingError("BUNDLE_INVALID", { detail: `${envelope.signatures.length} signatures` });
  return { signed: dssePae(envelope.payloadType, envelope.payload), signature: only.signature };
}

/** The signature over the envelope, by one of the trusted keys; with a hint only the key it names counts. */
export function verifyEnvelope(
  envelope: DsseEnvelope,
  trust: Pick<Trust, "publicKeys">,
  hint?: string,
): { key: TrustedKey; payload: Uint8Array } {
  const { signed, signature } = signedPart(envelope);
  const candidates = hint === undefined ? trust.publicKeys : trust.publicKeys.filter(({ keyId }) => keyId === hint);
  if (candidates.length === 0)
    throw signingError("SIGNER_NOT_TRUSTED", { detail: `key ${(hint ?? "unnamed").slice(0, 64)}` });
  const key = candidates.find((candidate) => candidate.verifies(signed, signature));
  if (!key) throw isOfFirstFormat(envelope.payload) ? signingError("BUNDLE_LEGACY") : signingError("SIGNATURE_INVALID");
  return { key, payload: envelope.payload };
}

const FIRST_FORMAT = "https://model_signing/Digests/v0.1";

/**
 * 0.2.0 signed other bytes than DSSE says, so that none of its signatures verifies; who has one is to be told. Nobody
 * vouches for these bytes: they are searched and not parsed.
 */
function isOfFirstFormat(payload: Uint8Array): boolean {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.length).includes(`"${FIRST_FORMAT}"`);
}
