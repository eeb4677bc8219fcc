/** X.501 names: compared by their bytes, read for people. */
import type { DerNode } from "./der.ts";
import { derOid, derSequence, derSet, derString } from "./der-read.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { OID } from "./oid.ts";

export interface NameAttribute {
  readonly oid: string;
  readonly value: string;
}

export interface X509Name {
  /** The whole DER value; two names are the same when these bytes are. */
  readonly raw: Uint8Array;
  readonly attributes: readonly NameAttribute[];
  /** The same as they stand in the name: a part may hold several (RelativeDistinguishedName). */
  readonly parts: readonly (readonly NameAttribute[])[];
  /** Undefined when there is none, or more than one. */
  readonly commonName: string | undefined;
}

export function readName(node: DerNode): X509Name {
  const parts = derSequence(node).map((relative) => derSet(relative).map(readAttribute));
  const attributes = parts.flat();
  if (attributes.length > CODEC_LIMITS.nameAttributes) throw codecError("X509_INVALID", { detail: "attributes" });
  const [commonName, ...more] = attributes.filter(({ oid }) => oid === OID.commonName);
  return { raw: node.raw, attributes, parts, commonName: more.length === 0 ? commonName?.value : undefined };
}

function readAttribute(node: DerNode): NameAttribute {
  const [type, value, ...more] = derSequence(node);
  if (!type || !value || more.length > 0) throw codecError("X509_INVALID", { detail: "an attribute of a name" });
  return { oid: derOid(type), value: derString(value) };
}

const SHORT: Readonly<Record<string, string>> = {
  [OID.commonName]: "CN",
  "2.5.4.5": "serialNumber",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
};

/** One line for people, for example `CN=Root,O=Example`; not to compare by. */
export function nameToText(name: X509Name): string {
  const parts = name.attributes.map(({ oid, value }) => `${SHORT[oid] ?? oid}=${escapeValue(value)}`);
  return parts.reverse().join(",");
}

const escapeValue = (value: string) =>
  value
    .replace(/[\\,+=<>;"]/g, "\\$&")
    .replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
