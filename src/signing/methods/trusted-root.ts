/** A Sigstore trusted root: the authorities, logs and timestamp authorities that keyless proofs may come from. */

import seeds from "@sigstore/tuf/seeds.json" with { type: "json" };
import type { toTrustMaterial } from "@sigstore/verify";
import { z } from "zod";
import { fromBase64, ModelkeepError, parseJson } from "../../base/index.ts";
import { signingError } from "../errors.ts";
import { SIGNING_LIMITS } from "../limits.ts";

export type TrustedRoot = Parameters<typeof toTrustMaterial>[0];
type Log = TrustedRoot["tlogs"][number];
type Authority = TrustedRoot["certificateAuthorities"][number];

const PUBLIC_INSTANCE = "https://tuf-repo-cdn.sigstore.dev";
const MEDIA_TYPE = /^application\/vnd\.dev\.sigstore\.trustedroot(\+json;version=0\.[12]|\.v0\.2\+json)$/;
/** Of protobuf's enumeration PublicKeyDetails, the one that is no SubjectPublicKeyInfo. */
const PKCS1_RSA = 1;
const SPKI = 5;
const SHA2_256 = 1;

const base64 = z
  .string()
  .max(SIGNING_LIMITS.trustedRootBytes)
  .transform((text, context) => {
    const bytes = fromBase64(text);
    if (bytes && bytes.length > 0) return Buffer.from(bytes);
    context.addIssue({ code: "custom", message: "not base64" });
    return z.NEVER;
  });

const time = z.iso.datetime().transform((text) => new Date(text));
/** A key without a beginning would be valid before it was made: the beginning is asked for. */
const validFor = z
  .object({ start: time, end: time.nullish() })
  .transform(({ start, end }) => ({ start, end: end ?? undefined }));
const logId = z.object({ keyId: base64 });

const log = z.object({
  baseUrl: z.string().max(2_048).default(""),
  hashAlgorithm: z.literal("SHA2_256"),
  publicKey: z.object({ rawBytes: base64, keyDetails: z.string().max(64), validFor }),
  logId,
  checkpointKeyId: logId.nullish(),
});

const authority = z.object({
  uri: z.string().max(2_048).default(""),
  certChain: z.object({
    certificates: z
      .array(z.object({ rawBytes: base64 }))
      .min(1)
      .max(16),
  }),
  validFor,
});

const list = <T extends z.ZodType>(item: T) => z.array(item).max(SIGNING_LIMITS.trustedRootEntries).default([]);

const schema = z.object({
  mediaType: z.string().regex(MEDIA_TYPE),
  tlogs: list(log),
  certificateAuthorities: list(authority),
  ctlogs: list(log),
  timestampAuthorities: list(authority),
});

/** Throws TRUSTED_ROOT_INVALID. Without bytes: the root of the public instance that the client library carries. */
export function readTrustedRoot(bytes: Uint8Array = publicRoot()): TrustedRoot {
  const parsed = schema.safeParse(readJson(bytes));
  if (!parsed.success)
    throw signingError("TRUSTED_ROOT_INVALID", { detail: parsed.error.issues[0]?.path.join(".") || "its keys" });
  const { mediaType, tlogs, ctlogs, certificateAuthorities, timestampAuthorities } = parsed.data;
  return {
    mediaType,
    tlogs: tlogs.map(toLog),
    ctlogs: ctlogs.map(toLog),
    certificateAuthorities: certificateAuthorities.map(toAuthority),
    timestampAuthorities: timestampAuthorities.map(toAuthority),
  };
}

function publicRoot(): Uint8Array {
  const target = seeds[PUBLIC_INSTANCE].targets["trusted_root.json"];
  return new Uint8Array(Buffer.from(target, "base64"));
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return parseJson(bytes, { maxBytes: SIGNING_LIMITS.trustedRootBytes, what: "trusted root" });
  } catch (error) {
    const detail = error instanceof ModelkeepError ? error.message : "it is not JSON";
    throw signingError("TRUSTED_ROOT_INVALID", { detail, cause: error });
  }
}

function toLog({ baseUrl, publicKey, logId, checkpointKeyId }: z.infer<typeof log>): Log {
  const keyDetails: number = publicKey.keyDetails.startsWith("PKCS1_RSA") ? PKCS1_RSA : SPKI;
  return {
    baseUrl,
    hashAlgorithm: SHA2_256,
    publicKey: { rawBytes: publicKey.rawBytes, keyDetails, validFor: publicKey.validFor },
    logId,
    checkpointKeyId: checkpointKeyId ?? undefined,
    operator: "",
  };
}

function toAuthority({ uri, certChain, validFor }: z.infer<typeof authority>): Authority {
  return { subject: undefined, uri, certChain, validFor, operator: "" };
}
