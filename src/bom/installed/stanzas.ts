/** Blocks of `Key: value` lines, as dpkg, apk and Python's METADATA write them. */

/** Fields of each block, which an empty line ends; a line that begins with a space goes on with the last value. */
export function* readStanzas(text: string): Generator<ReadonlyMap<string, string>> {
  let fields = new Map<string, string>();
  let last = "";
  for (const line of text.split("\n")) {
    if (line.trim() === "") {
      if (fields.size > 0) yield fields;
      fields = new Map();
      last = "";
      continue;
    }
    if (/^[ \t]/.test(line)) {
      if (last !== "" && !LONG.has(last)) fields.set(last, `${fields.get(last) ?? ""}\n${line.trim()}`);
      continue;
    }
    const colon = line.indexOf(":");
    if (colon <= 0) continue;
    last = line.slice(0, colon);
    if (!fields.has(last)) fields.set(last, line.slice(colon + 1).trim());
  }
  if (fields.size > 0) yield fields;
}

/** Values of many lines that nobody here reads. */
const LONG = new Set(["Description", "Conffiles"]);
