/** A timestamp authority's word on when a signature was there (RFC 3161). */
import { createHash } from "node:crypto";
import { equalBytes, ModelkeepError } from "../../base/index.ts";
import {
  encodeTimestampRequest,
  parseTimestampResponse,
  type TimestampAnswer,
  type TimestampToken,
} from "../../codec/index.ts";
import { keylessError } from "./errors.ts";
import { askForBody, type KeylessPorts, limitsOf, whereOf } from "./http.ts";

export interface StampOptions {
  /** The whole URL of the authority. */
  readonly url: string;
  /** The policy that the timestamp must be under, dotted decimal; the authority's choice when absent. */
  readonly policy?: string | undefined;
}

export interface Stamp {
  /** The whole response, as a bundle holds it. */
  readonly response: Uint8Array;
  readonly token: TimestampToken;
}

/** What keyless signing puts into its bundles. */
export async function requestTimestamp(ports: KeylessPorts, url: string, signature: Uint8Array): Promise<Uint8Array> {
  return (await requestStamp(ports, { url }, signature)).response;
}

/**
 * That the response answers this request is checked here; who signed it, and its time, when the bundle is verified.
 * Throws KEYLESS_TIMESTAMP_WRONG, KEYLESS_ANSWER_INVALID and what `askForBody` does.
 */
export async function requestStamp(ports: KeylessPorts, options: StampOptions, signature: Uint8Array): Promise<Stamp> {
  const { url, policy } = options;
  const nonce = positive(ports.random.bytes(limitsOf(ports).nonceBytes));
  const digest = new Uint8Array(createHash("sha256").update(signature).digest());
  const request = {
    service: "timestamp authority",
    url,
    method: "POST",
    headers: { "content-type": "application/timestamp-query", accept: "application/timestamp-reply" },
    body: encodeTimestampRequest({ digest, nonce, policy }),
    milliseconds: limitsOf(ports).timestampMilliseconds,
    repeat: "harmless",
  } as const;
  const response = await askForBody(ports, request);
  const where = whereOf(request);
  const token = readToken(response, where);
  const why = faultOf(token, { digest, nonce, policy });
  if (why !== undefined) throw keylessError("KEYLESS_TIMESTAMP_WRONG", { detail: `${where}: ${why}` });
  return { response, token };
}

/** A DER integer above zero, without needless octets. */
function positive(bytes: Uint8Array): Uint8Array {
  const out = Uint8Array.from(bytes);
  out[0] = ((out[0] ?? 0) & 0x7f) | 0x40;
  return out;
}

interface Asked {
  readonly digest: Uint8Array;
  readonly nonce: Uint8Array;
  readonly policy: string | undefined;
}

function faultOf({ imprint, nonce, policy }: TimestampToken, asked: Asked): string | undefined {
  if (imprint.hash !== "sha256" || !equalBytes(imprint.digest, asked.digest)) return "it is of something else";
  if (nonce !== BigInt(`0x${Buffer.from(asked.nonce).toString("hex")}`)) return "it answers another request";
  return asked.policy === undefined || asked.policy === policy ? undefined : `its policy is ${policy}`;
}

function readToken(response: Uint8Array, where: string): TimestampToken {
  const answer = readAnswer(response, where);
  if (answer.granted) return answer.token;
  throw keylessError("KEYLESS_TIMESTAMP_WRONG", { detail: `${where}: not granted, status ${answer.status}` });
}

function readAnswer(response: Uint8Array, where: string): TimestampAnswer {
  try {
    return parseTimestampResponse(response);
  } catch (error) {
    const detail = `${where}: ${error instanceof ModelkeepError ? error.message : "it is no timestamp response"}`;
    throw keylessError("KEYLESS_ANSWER_INVALID", { detail });
  }
}
