/** The key envelope: the package key wrapped for each recipient, bound to package and model, authenticated by the package key. */
import { z } from "zod";
import type { KeyWrapper, WrapContext, WrappedKey } from "../backends/index.ts";
import { copySecret, equalBytes, fromBase64, ModelkeepError, parseJson, toBase64, utf8 } from "../base/index.ts";
import { GuardedBytes } from "../host/index.ts";
import { codeOf } from "./authentication.ts";
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
  return authenticate(packageKey, packageId, rootDigest, await wrapFor(packageKey, packageId, rootDigest, wrappers));
}

/** An envelope that was opened: its key, and the recipient that it came out of. The caller wipes the key. */
export interface OpenedEnvelope {
  readonly envelope: KeyEnvelope;
  readonly key: GuardedBytes;
  readonly by: Pair;
}

interface Pair {
  readonly wrapper: KeyWrapper;
  readonly wrapped: WrappedKey;
}

/** The same key for other recipients: those that are kept as they are, and new ones. Throws RECIPIENTS_INVALID. */
export async function changeRecipients(
  opened: OpenedEnvelope,
  kept: KeyEnvelope["recipients"],
  wrappers: readonly KeyWrapper[],
): Promise<KeyEnvelope> {
  const { package_id: packageId, root_digest: rootDigest } = opened.envelope;
  const made = await wrapFor(opened.key, packageId, rootDigest, wrappers, opened.by);
  const others = kept.filter(({ key_id: id }) => !made.some((entry) => entry.key_id === id));
  const recipients = [...others, ...made];
  if (recipients.length === 0) throw sealingError("RECIPIENTS_INVALID", { detail: "nobody would be left" });
  if (recipients.length > SEALING_LIMITS.recipients)
    throw sealingError("RECIPIENTS_INVALID", { detail: `at most ${SEALING_LIMITS.recipients} are possible` });
  return authenticate(opened.key, packageId, rootDigest, recipients);
}

/** Wraps of one service move inside of it where it can do that. */
async function wrapFor(
  packageKey: GuardedBytes,
  packageId: string,
  rootDigest: string,
  wrappers: readonly KeyWrapper[],
  from?: Pair,
): Promise<KeyEnvelope["recipients"]> {
  const context = contextOf(packageId, rootDigest);
  const copy = packageKey.use(copySecret);
  const wrap = async (wrapper: KeyWrapper): Promise<WrappedKey> =>
    (await from?.wrapper.moveTo?.(from.wrapped, context, wrapper)) ?? wrapper.wrap(copy, context);
  try {
    return (await Promise.all(wrappers.map(wrap))).map(toRecipient);
  } finally {
    copy.fill(0);
  }
}

function authenticate(
  packageKey: GuardedBytes,
  packageId: string,
  rootDigest: string,
  recipients: KeyEnvelope["recipients"],
): KeyEnvelope {
  const body = { format: ENVELOPE_FORMAT, package_id: packageId, root_digest: rootDigest, recipients } as const;
  return { ...body, mac: toBase64(macOf(packageKey, body)) };
}

/**
 * Only the given wrappers are used, and which one fits is told by the id of its key: the address in an envelope is a
 * stranger's word. Throws NO_KEY_SERVICE, UNWRAP_FAILED, or ENVELOPE_INVALID when the key opens but the envelope was
 * changed.
 */
export async function unwrapPackageKey(envelope: KeyEnvelope, wrappers: readonly KeyWrapper[]): Promise<GuardedBytes> {
  return (await openEnvelope(envelope, wrappers)).key;
}

/** Like `unwrapPackageKey`, for who changes the recipients afterwards. */
export async function openEnvelope(envelope: KeyEnvelope, wrappers: readonly KeyWrapper[]): Promise<OpenedEnvelope> {
  const pairs = envelope.recipients.map(fromRecipient).flatMap((wrapped) => {
    const candidates = wrappers.filter((candidate) => candidate.recognises(wrapped));
    return candidates.map((wrapper) => ({ wrapper, wrapped }));
  });
  if (pairs.length === 0)
    throw sealingError("NO_KEY_SERVICE", {
      detail: `it was wrapped by ${envelope.recipients.map(({ kms }) => kms.slice(0, 200)).join(", ")}`,
    });
  const { key, by } = await firstThatOpens(pairs, contextOf(envelope.package_id, envelope.root_digest));
  const { mac, ...body } = envelope;
  if (!equalBytes(macOf(key, body), fromBase64(mac) ?? new Uint8Array(0))) {
    key.wipe();
    throw sealingError("ENVELOPE_INVALID", { detail: "its authentication code" });
  }
  return { envelope, key, by };
}

async function firstThatOpens(pairs: readonly Pair[], context: WrapContext): Promise<{ key: GuardedBytes; by: Pair }> {
  let last: unknown;
  for (const by of pairs) {
    try {
      const key = await by.wrapper.unwrap(by.wrapped, context);
      if (key.length === PACKAGE_KEY_BYTES) return { key: GuardedBytes.take(key), by };
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
  return codeOf(packageKey, "modelkeep envelope mac v1", body);
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
