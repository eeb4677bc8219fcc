/** Names of a certificate as text that cannot be read two ways: RFC 4514, and alternative names with their kind. */
import type { Certificate } from "../../codec/index.ts";

const SHORT_NAMES: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.6": "C",
  "2.5.4.7": "L",
  "2.5.4.8": "ST",
  "2.5.4.9": "STREET",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
  "0.9.2342.19200300.100.1.1": "UID",
  "0.9.2342.19200300.100.1.25": "DC",
};

/** The last part first; attributes that stand in one part are joined by `+` (RFC 4514, sections 2.1 and 2.2). */
export function subjectText({ subject }: Certificate): string {
  return subject.parts
    .map((part) => part.map(({ oid, value }) => `${SHORT_NAMES[oid] ?? oid}=${escapeValue(value)}`).join("+"))
    .reverse()
    .join(",");
}

/** Section 2.4; control characters too, so that no name hides what comes after a NUL. */
function escapeValue(value: string): string {
  return (
    value
      .replace(/[",+;<>\\=]/g, "\\$&")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is escaped
      .replace(/[\u0000-\u001f\u007f]/g, (c) => `\\${c.charCodeAt(0).toString(16).padStart(2, "0")}`)
      .replace(/^[ #]/, "\\$&")
      .replace(/ $/, "\\ ")
  );
}

export function alternativeNames({ subjectAltNames = [] }: Certificate): string[] {
  return subjectAltNames.map(({ kind, value }) => `${kind}:${value}`);
}

/** Exact, in every character: no case folding, no Unicode normalisation, no pattern. */
export function isSubject(certificate: Certificate, wanted: string): boolean {
  if (wanted === "") return false;
  return subjectText(certificate) === wanted || alternativeNames(certificate).includes(wanted);
}
