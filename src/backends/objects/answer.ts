/** What the object services' answers have in common: refusals, lists in XML, ranges. */
import { childElements, parseXml, textOf, type XmlElement } from "../../codec/index.ts";
import { storeError } from "./errors.ts";
import type { ObjectAnswer } from "./http.ts";

const BOM = [0xef, 0xbb, 0xbf];

/** The document element; throws STORE_ANSWER_INVALID for anything that is not small, strict XML of that name. */
export function readXml(bytes: Uint8Array, name: string, where: string): XmlElement {
  const hasMark = BOM.every((byte, index) => bytes[index] === byte);
  try {
    const root = parseXml(hasMark ? bytes.subarray(BOM.length) : bytes);
    if (root.local === name) return root;
  } catch {}
  throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, not <${name}>` });
}

export function childrenOf(element: XmlElement, name: string): XmlElement[] {
  return childElements(element).filter(({ local }) => local === name);
}

export function childText(element: XmlElement, name: string): string | undefined {
  const [child, second] = childrenOf(element, name);
  return child && !second ? textOf(child) : undefined;
}

/** The code of a refusal in XML (S3, Azure); empty where there is none. The other words repeat what was sent. */
export function xmlCode({ body, headers }: ObjectAnswer): string {
  const text = Buffer.from(body.subarray(0, 4_096)).toString("latin1");
  const header = headers["x-ms-error-code"] ?? "";
  return /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text)?.[1] ?? (/^[A-Za-z0-9]{1,64}$/.test(header) ? header : "");
}

/** The error that a refusal stands for, when the service's own code says nothing more. */
export function refusal(answer: ObjectAnswer, where: string, code: string) {
  const detail = `${where}, ${code === "" ? "" : `${code}, `}status ${answer.status}`;
  const { status } = answer;
  if (status >= 300 && status < 400) return storeError("STORE_REDIRECTED", { detail });
  if (status === 401) return storeError("STORE_CREDENTIALS_REFUSED", { detail });
  if (status === 403) return storeError("STORE_DENIED", { detail });
  if (status === 404) return storeError("STORE_NOT_FOUND", { detail });
  if (status === 412 || status === 409) return storeError("BLOB_EXISTS", { detail });
  if (status === 429 || status === 503) return storeError("STORE_THROTTLED", { detail });
  return storeError(status >= 500 && status !== 501 ? "BLOBS_UNREACHABLE" : "STORE_REFUSED", { detail });
}

/** The length that an answer states, for an object that has one. */
export function lengthOf({ headers }: ObjectAnswer, where: string): number {
  const text = headers["content-length"] ?? "";
  const bytes = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(bytes)) throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, no length` });
  return bytes;
}

/** A key in the path of a request: every octet but the unreserved ones encoded, slashes kept (RFC 3986). */
export function encodeKey(key: string): string {
  return key.split("/").map(encodePart).join("/");
}

/** Also what `encodeURIComponent` leaves: signatures count every octet. */
export function encodePart(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (one) => `%${one.charCodeAt(0).toString(16).toUpperCase()}`);
}

/** A query whose names are sorted, as signatures want it. */
export function encodeQuery(query: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(query).map(([name, value]) => `${encodePart(name)}=${encodePart(value)}`);
  return pairs.sort().join("&");
}
