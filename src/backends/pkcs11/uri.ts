/** PKCS#11 URIs (RFC 7512), as far as they name a key in a token; a PIN in the text itself is refused. */
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface Pkcs11Uri {
  /** The path alone: where the module lies and where its PIN is from is of this machine. */
  readonly uri: string;
  readonly token: string | undefined;
  readonly manufacturer: string | undefined;
  readonly serial: string | undefined;
  readonly model: string | undefined;
  readonly slotId: number | undefined;
  readonly object: string | undefined;
  readonly id: Uint8Array | undefined;
  readonly modulePath: string | undefined;
  readonly pinSource: string | undefined;
}

const PATH_NAMES = ["token", "manufacturer", "serial", "model", "slot-id", "object", "id", "type"];
const QUERY_NAMES = ["module-path", "pin-source"];
/** pk11-pchar and pk11-qchar, percent-encoded octets included (RFC 7512, section 2.3). */
const PATH_VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=&]|%[0-9A-Fa-f]{2})*$/;
const QUERY_VALUE = /^(?:[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|]|%[0-9A-Fa-f]{2})*$/;
const TYPES = new Set(["private", "secret-key"]);

/** Throws KMS_URI_UNKNOWN for an attribute that is unknown, twice there or damaged, and when no key is named. */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  if (text.length > BACKEND_LIMITS.uriCharacters) throw wrong("it is too long");
  const [path = "", query, more] = text.slice("pkcs11:".length).split("?");
  if (!text.startsWith("pkcs11:") || more !== undefined) throw wrong("it is pkcs11:token=T;object=K?module-path=M");
  const named = attributes(path, ";", PATH_NAMES, PATH_VALUE);
  const local = attributes(query ?? "", "&", QUERY_NAMES, QUERY_VALUE);
  const type = textOf(named.get("type"));
  if (type !== undefined && !TYPES.has(type)) throw wrong("type is private or secret-key");
  if (!named.has("object") && !named.has("id")) throw wrong("it names no key: object=LABEL or id=%01");
  return {
    uri: `pkcs11:${path}`,
    token: textOf(named.get("token")),
    manufacturer: textOf(named.get("manufacturer")),
    serial: textOf(named.get("serial")),
    model: textOf(named.get("model")),
    slotId: slotOf(textOf(named.get("slot-id"))),
    object: textOf(named.get("object")),
    id: named.get("id"),
    modulePath: textOf(local.get("module-path")),
    pinSource: textOf(local.get("pin-source")),
  };
}

function attributes(
  text: string,
  separator: string,
  names: readonly string[],
  shape: RegExp,
): ReadonlyMap<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const part of text === "" ? [] : text.split(separator)) {
    const equals = part.indexOf("=");
    const name = part.slice(0, Math.max(equals, 0));
    const value = part.slice(equals + 1);
    if (name === "pin-value") throw wrong("a PIN is not part of the URI", "?pin-source=file:/run/pin, or env:NAME");
    if (!names.includes(name)) throw wrong(`the attribute ${(name || part).slice(0, 40)}`);
    if (found.has(name)) throw wrong(`${name} is there twice`);
    if (!shape.test(value) || value === "") throw wrong(`the value of ${name}`);
    found.set(name, percentDecoded(value));
  }
  return found;
}

function percentDecoded(text: string): Uint8Array {
  const parts = text.match(/%[0-9A-Fa-f]{2}|[^%]/g) ?? [];
  return Uint8Array.from(parts, (part) =>
    part.length === 3 ? Number.parseInt(part.slice(1), 16) : part.charCodeAt(0),
  );
}

function textOf(bytes: Uint8Array | undefined): string | undefined {
  if (!bytes) return undefined;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {}
  throw wrong("an attribute is not UTF-8");
}

function slotOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,15}$/.test(text)) throw wrong("slot-id is a number");
  return Number(text);
}

function wrong(detail: string, hint?: string): Error {
  return backendError("KMS_URI_UNKNOWN", { detail, ...(hint === undefined ? {} : { hint }) });
}
