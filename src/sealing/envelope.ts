/** The key envelope: the package key wrapped for each recipient, bound to package and model, authenticated by the package key. */
import { createHmac, hkdfSync } from "node:crypto";
import { z } from "zod";
import type { KeyWrapper, WrapContext, WrappedKey } from "../backends/index.ts";
import { copySecret, equalBytes, fromBase64, ModelkeepError, parseJson, toBase64, utf8 } from "../base/index.ts";
import { jcs } from "../codec/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { sealingError } from "./errors.ts";
import { SEALING_LIMITS } from "./limits.ts";

export const ENVELOPE_FORMAT = "modelkeep-key-envelope-v1";
const PACKAGE_KEY_BYTES = 32;

const recipient = z.strictObject({
  kms: z.string().min(1).max(2_048),
  key_id: z.string().min(1).max(512),
  key_version: z.string().min(1).max(64),
  ciphertext: z.string().max(8_192),
});

const schema = z.strictObject({
  format: z.literal(ENVELOPE_FORMAT),
  package_id: z.string().regex(/^[0-9a-f]{32}$/),
  root_digest: z.string().regex(/^[0-9a-f]{64}$/),
  recipients: z.array(recipient).min(1).max(SEALING_LIMITS.recipients),
  mac: z.string().max(64),
});

export type KeyEnvelope = z.output<typeof schema>;

/** Parses an untrusted envelope; nothing in it counts before `unwrapPackageKey` has checked it. Throws ENVELOPE_INVALID. */
export function parseEnvelope(input: Uint8Array | string): KeyEnvelope {
  const parsed = schema.safeParse(parseJson(input, { maxBytes: SEALING_LIMITS.envelopeBytes, what: "key envelope" }));
  if (!parsed.success) throw sealingError("ENVELOPE_INVALID", { detail: parsed.error.issues[0]?.path.join(".") ?? "" });
  return parsed.data;
}

export function envelopeBytes(envelope: KeyEnvelope): Uint8Array {
  return utf8(`${JSON.stringify(envelope)}\n`);
}

export async function makeEnvelope(
  packageKey: GuardedBytes,
  packageId: string,
  rootDigest: string,
  wrappers: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  const copy = packageKey.use(copySecret);
  try {
    const wrapped = await Promise.all(wrappers.map((wrapper) => wrapper.wrap(copy, contextOf(packageId, rootDigest))));
    const body = {
      format: ENVELOPE_FORMAT,
      package_id: packageId,
      root_digest: rootDigest,
      recipients: wrapped.map(toRecipient),
    } as const;
    return { ...body, mac: toBase64(macOf(packageKey, body)) };
  } finally {
    copy.fill(0);
  }
}

/**
 * Only the given wrappers are used, and which one fits is told by the id of its key: the address in an envelope is a
 * stranger's word. Throws NO_KEY_SERVICE, UNWRAP_FAILED, or ENVELOPE_INVALID when the key opens but the envelope was
 * changed.
 */
export async function unwrapPackageKey(envelope: KeyEnvelope, wrappers: readonly KeyWrapper[]): Promise<GuardedBytes> {
  const pairs = envelope.recipients.map(fromRecipient).flatMap((wrapped) => {
    const candidates = wrappers.filter((candidate) => candidate.recognises(wrapped));
    return candidates.map((wrapper) => ({ wrapper, wrapped }));
  });
  if (pairs.length === 0)
    throw sealingError("NO_KEY_SERVICE", {
      detail: `it was wrapped by ${envelope.recipients.map(({ kms }) => kms.slice(0, 200)).join(", ")}`,
    });
  const key = await firstThatOpens(pairs, contextOf(envelope.package_id, envelope.root_digest));
  const { mac, ...body } = envelope;
  if (!equalBytes(macOf(key, body), fromBase64(mac) ?? new Uint8Array(0))) {
    key.wipe();
    throw sealingError("ENVELOPE_INVALID", { detail: "its authentication code" });
  }
  return key;
}

async function firstThatOpens(
  pairs: readonly { wrapper: KeyWrapper; wrapped: WrappedKey }[],
  context: WrapContext,
): Promise<GuardedBytes> {
  let last: unknown;
  for (const { wrapper, wrapped } of pairs) {
    try {
      const key = await wrapper.unwrap(wrapped, context);
      if (key.length === PACKAGE_KEY_BYTES) return GuardedBytes.take(key);
      key.fill(0);
      last = sealingError("ENVELOPE_INVALID", { detail: "the length of the key" });
    } catch (error) {
      if (!(error instanceof ModelkeepError)) throw error;
      last = error;
    }
  }
  throw last;
}

function contextOf(packageId: string, rootDigest: string): WrapContext {
  return { package_id: packageId, root_digest: rootDigest };
}

function macOf(packageKey: GuardedBytes, body: Omit<KeyEnvelope, "mac">): Uint8Array {
  return packageKey.use((key) => {
    const macKey = new Uint8Array(hkdfSync("sha256", key, new Uint8Array(0), utf8("modelkeep envelope mac v1"), 32));
    const mac = createHmac("sha256", macKey).update(jcs(body)).digest();
    macKey.fill(0);
    return new Uint8Array(mac);
  });
}

function toRecipient(wrapped: WrappedKey): KeyEnvelope["recipients"][number] {
  return {
    kms: wrapped.kms,
    key_id: wrapped.keyId,
    key_version: wrapped.keyVersion,
    ciphertext: toBase64(wrapped.ciphertext),
  };
}

function fromRecipient(entry: KeyEnvelope["recipients"][number]): WrappedKey {
  const ciphertext = fromBase64(entry.ciphertext);
  if (!ciphertext) throw sealingError("ENVELOPE_INVALID", { detail: "ciphertext is not base64" });
  return { kms: entry.kms, keyId: entry.key_id, keyVersion: entry.key_version, ciphertext };
}
