/** A timestamp authority's word on when a signature was there (RFC 3161). */
import { createHash } from "node:crypto";
import { equalBytes, ModelkeepError } from "../../base/index.ts";
import {
  DerFields,
  derInner,
  derInteger,
  derOctets,
  derOid,
  derSequence,
  derSmallInteger,
  parseDer,
} from "../../codec/index.ts";
import { encodeTimestampRequest } from "./der-write.ts";
import { keylessError } from "./errors.ts";
import { askForBody, type KeylessPorts, limitsOf, whereOf } from "./http.ts";

const TIMESTAMP_INFO = "1.2.840.113549.1.9.16.1.4";
const SIGNED_DATA = "1.2.840.113549.1.7.2";

/**
 * The whole response, as a bundle holds it. That it answers this request is checked here; who signed it, and its time,
 * when the bundle is verified. Throws KEYLESS_TIMESTAMP_WRONG, KEYLESS_ANSWER_INVALID and what `askForBody` does.
 */
export async function requestTimestamp(ports: KeylessPorts, url: string, signature: Uint8Array): Promise<Uint8Array> {
  const nonce = positive(ports.random.bytes(limitsOf(ports).nonceBytes));
  const request = {
    service: "timestamp authority",
    url,
    method: "POST",
    headers: { "content-type": "application/timestamp-query", accept: "application/timestamp-reply" },
    body: encodeTimestampRequest(signature, nonce),
    milliseconds: limitsOf(ports).timestampMilliseconds,
    repeat: "harmless",
  } as const;
  const response = await askForBody(ports, request);
  checkResponse(response, signature, nonce, whereOf(request));
  return response;
}

/** A DER integer above zero, without needless octets. */
function positive(bytes: Uint8Array): Uint8Array {
  const out = Uint8Array.from(bytes);
  out[0] = ((out[0] ?? 0) & 0x7f) | 0x40;
  return out;
}

function checkResponse(response: Uint8Array, signature: Uint8Array, nonce: Uint8Array, where: string): void {
  const info = readResponse(response, where);
  if (!info) throw keylessError("KEYLESS_TIMESTAMP_WRONG", { detail: `${where}: not granted` });
  const digest = new Uint8Array(createHash("sha256").update(signature).digest());
  if (!equalBytes(info.imprint, digest))
    throw keylessError("KEYLESS_TIMESTAMP_WRONG", { detail: `${where}: it is of something else` });
  if (info.nonce !== BigInt(`0x${Buffer.from(nonce).toString("hex")}`))
    throw keylessError("KEYLESS_TIMESTAMP_WRONG", { detail: `${where}: it answers another request` });
}

interface TimestampInfo {
  readonly imprint: Uint8Array;
  readonly nonce: bigint | undefined;
}

/** Undefined when the authority says that it gives none. */
function readResponse(response: Uint8Array, where: string): TimestampInfo | undefined {
  try {
    const [status, token] = derSequence(parseDer(response));
    const granted = status && derSmallInteger(new DerFields(status).take());
    if (granted === undefined || granted > 1 || !token) return undefined;
    const contentInfo = new DerFields(token);
    if (derOid(contentInfo.take()) !== SIGNED_DATA) throw new Error("content type");
    const [, , encapsulated] = derSequence(derInner(contentInfo.take()));
    const [type, content] = encapsulated ? derSequence(encapsulated) : [];
    if (!type || !content || derOid(type) !== TIMESTAMP_INFO) throw new Error("encapsulated content type");
    return readInfo(derOctets(derInner(content)));
  } catch (error) {
    const detail = `${where}: ${error instanceof ModelkeepError ? error.message : "it is no timestamp response"}`;
    throw keylessError("KEYLESS_ANSWER_INVALID", { detail });
  }
}

/** TSTInfo (section 2.4.2): version, policy, imprint, serial number, time, then the nonce as the only other INTEGER. */
function readInfo(der: Uint8Array): TimestampInfo {
  const fields = derSequence(parseDer(der));
  const imprint = fields[2] && derSequence(fields[2])[1];
  if (!imprint) throw new Error("imprint");
  const nonce = fields.slice(5).find(({ tag }) => tag.class === "universal" && tag.number === 2);
  return { imprint: derOctets(imprint), nonce: nonce && derInteger(nonce) };
}
