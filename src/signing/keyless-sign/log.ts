/** An entry in a transparency log (Rekor, both versions), in the form in which a bundle holds it. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { fromBase64, fromHex, parseJson, toBase64, utf8 } from "../../base/index.ts";
import { type DsseEnvelope, dsseToJson, toPem } from "../../codec/index.ts";
import { signedPart } from "../envelope.ts";
import { parseAnswer } from "./answer.ts";
import type { LogEndpoint } from "./endpoints.ts";
import { keylessError } from "./errors.ts";
import { askForBody, type KeylessPorts, limitsOf, whereOf } from "./http.ts";
import { KEYLESS_LIMITS } from "./limits.ts";

const text = z.string().max(KEYLESS_LIMITS.answerBytes);
/** A count as JSON of protocol buffers has it, or as a number; left out when it is 0. */
const count = z
  .union([z.number().int().min(0), z.string().regex(/^\d{1,19}$/)])
  .default(0)
  .transform(String);
const hashes = z.array(text).max(KEYLESS_LIMITS.proofHashes).default([]);
const checkpoint = z.string().min(1).max(KEYLESS_LIMITS.checkpointCharacters);
const base64 = text.refine((value) => fromBase64(value) !== undefined);
const hex = text.refine((value) => fromHex(value) !== undefined);

/**
 * Sends the envelope's signature to the log and returns the entry. That it is of this signature, and in the log, is
 * checked when the bundle is verified. Throws KEYLESS_ANSWER_INVALID and what `askForBody` does.
 */
export async function requestEntry(
  ports: KeylessPorts,
  log: LogEndpoint,
  envelope: DsseEnvelope,
  certificate: Uint8Array,
): Promise<object> {
  const proposed = log.version === 2 ? proposeHash(envelope, certificate) : proposeEnvelope(envelope, certificate);
  const request = {
    service: "log",
    url: `${log.url}/api/v${log.version}/log/entries`,
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: utf8(JSON.stringify(proposed)),
    milliseconds: limitsOf(ports).logMilliseconds,
    repeat: "unheard",
  } as const;
  const body = await askForBody(ports, request);
  return log.version === 2 ? readEntry(body, whereOf(request)) : readFirstEntry(body, whereOf(request));
}

/** `dsse` 0.0.1: the log takes the envelope as text and keeps its hashes. */
function proposeEnvelope(envelope: DsseEnvelope, certificate: Uint8Array): object {
  const verifiers = [toBase64(utf8(toPem("CERTIFICATE", certificate)))];
  const proposedContent = { envelope: JSON.stringify(dsseToJson(envelope)), verifiers };
  return { apiVersion: "0.0.1", kind: "dsse", spec: { proposedContent } };
}

/** `hashedrekord` 0.0.2 over what the signature covers: the second version takes no envelopes (client specification). */
function proposeHash(envelope: DsseEnvelope, certificate: Uint8Array): object {
  const { signed, signature } = signedPart(envelope);
  const verifier = { x509Certificate: { rawBytes: toBase64(certificate) }, keyDetails: "PKIX_ECDSA_P256_SHA_256" };
  const digest = createHash("sha256").update(signed).digest("base64");
  return { hashedRekordRequestV002: { digest, signature: { content: toBase64(signature), verifier } } };
}

const entry = z.object({
  logIndex: count,
  logId: z.object({ keyId: base64 }),
  kindVersion: z.object({ kind: z.literal("hashedrekord"), version: z.literal("0.0.2") }),
  inclusionProof: z.object({
    logIndex: count,
    treeSize: count,
    rootHash: base64,
    hashes,
    checkpoint: z.object({ envelope: checkpoint }),
  }),
  canonicalizedBody: base64,
});

/** Its known parts only; a time without a promise says nothing and is left out. Its place stands there twice. */
function readEntry(body: Uint8Array, where: string): object {
  const read = parseAnswer(body, entry, where);
  if (read.logIndex === read.inclusionProof.logIndex) return read;
  throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: two places in the log` });
}

const firstEntry = z.object({
  body: base64,
  integratedTime: count,
  logID: hex,
  logIndex: count,
  verification: z.object({
    signedEntryTimestamp: base64,
    inclusionProof: z.object({
      checkpoint,
      hashes: z.array(hex).max(KEYLESS_LIMITS.proofHashes),
      logIndex: count,
      rootHash: hex,
      treeSize: count,
    }),
  }),
});
const firstAnswer = z.record(z.string().max(200), firstEntry);
const firstBody = z.object({ kind: z.literal("dsse"), apiVersion: z.literal("0.0.1") });

/** One entry under its id, in hex where a bundle has base64. */
function readFirstEntry(body: Uint8Array, where: string): object {
  const [only, ...more] = Object.values(parseAnswer(body, firstAnswer, where));
  if (!only || more.length > 0) throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: not one entry` });
  const { signedEntryTimestamp, inclusionProof: proof } = only.verification;
  const { kind, apiVersion: version } = kindOf(only.body, where);
  return {
    logIndex: only.logIndex,
    logId: { keyId: fromHexToBase64(only.logID) },
    kindVersion: { kind, version },
    integratedTime: only.integratedTime,
    inclusionPromise: { signedEntryTimestamp },
    inclusionProof: {
      logIndex: proof.logIndex,
      rootHash: fromHexToBase64(proof.rootHash),
      treeSize: proof.treeSize,
      hashes: proof.hashes.map(fromHexToBase64),
      checkpoint: { envelope: proof.checkpoint },
    },
    canonicalizedBody: only.body,
  };
}

function kindOf(body: string, where: string): z.infer<typeof firstBody> {
  try {
    return firstBody.parse(parseJson(fromBase64(body) ?? "", { maxBytes: KEYLESS_LIMITS.answerBytes }));
  } catch {
    throw keylessError("KEYLESS_ANSWER_INVALID", { detail: `${where}: the kind of its entry` });
  }
}

function fromHexToBase64(text: string): string {
  return toBase64(fromHex(text) ?? new Uint8Array());
}
