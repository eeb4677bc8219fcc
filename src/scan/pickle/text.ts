/** How protocol 0 writes text: quoted with backslash escapes, or raw with \\u escapes. */

const SIMPLE: Readonly<Record<string, string>> = {
  n: "\n",
  r: "\r",
  t: "\t",
  a: "\x07",
  b: "\b",
  f: "\f",
  v: "\v",
  "\n": "",
};

/** STRING: a Python literal in quotes; undefined when the quotes are missing. */
export function decodeString(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes).toString("latin1").trim();
  const quote = text[0];
  if (text.length < 2 || (quote !== "'" && quote !== '"') || text.at(-1) !== quote) return undefined;
  return text
    .slice(1, -1)
    .replace(
      /\\(?:x([0-9a-fA-F]{2})|([0-7]{1,3})|([\s\S]))/g,
      (_all, hex?: string, octal?: string, simple?: string) => {
        if (hex) return String.fromCharCode(Number.parseInt(hex, 16));
        if (octal) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff);
        return SIMPLE[simple ?? ""] ?? simple ?? "";
      },
    );
}

/** UNICODE: latin-1 with \uXXXX and \UXXXXXXXX. */
export function decodeRawUnicode(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replace(/\\u([0-9a-fA-F]{4})|\\U([0-9a-fA-F]{8})/g, (all, short?: string, long?: string) => {
      const point = Number.parseInt(short ?? long ?? "", 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : all;
    });
}
