/** Name patterns of a signer policy: `NAME@VERSION`, where `*` stands for any characters within its half. */

/** No other wildcard, no class, no escape; at most 201 characters. */
export const MODEL_PATTERN = /^[A-Za-z0-9._+*-]{1,100}@[A-Za-z0-9._+*-]{1,100}$/;

/** The whole of both halves, case by case; neither `*` crosses the `@`. */
export function matchesPattern(pattern: string, model: string): boolean {
  const [name, version, ...more] = model.split("@");
  const [namePattern = "", versionPattern = ""] = pattern.split("@");
  if (name === undefined || version === undefined || more.length > 0) return false;
  return matchesHalf(namePattern, name) && matchesHalf(versionPattern, version);
}

/** Each piece between stars at its leftmost place: time grows with the product of the lengths, never beyond. */
function matchesHalf(pattern: string, text: string): boolean {
  const [first = "", ...pieces] = pattern.split("*");
  const last = pieces.pop();
  if (last === undefined) return text === first;
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const piece of pieces) {
    const found = text.indexOf(piece, at);
    if (found === -1 || found + piece.length > end) return false;
    at = found + piece.length;
  }
  return true;
}
