/** The encoded forms of a key, kept as safely as the key and wiped with it. */
import { GuardedBytes, MAX_GUARDED_BYTES } from "../host/index.ts";
import { findForms, formsOf, maskForms, type Span, startedBytes, wipeForms } from "./encodings.ts";

const known = new WeakMap<GuardedBytes, KeyForms>();

/** Made at the first call; fails with MEMORY_WIPED like the key. */
export function formsOfKey(key: GuardedBytes): KeyForms {
  const made = known.get(key) ?? new KeyForms(key);
  known.set(key, made);
  return made;
}

export class KeyForms {
  /** Length of the shortest form: in less than that there is none. */
  readonly shortest: number;
  readonly #blobs: readonly { readonly bytes: GuardedBytes; readonly lengths: readonly number[] }[];

  constructor(key: GuardedBytes) {
    const forms = key.use((bytes) => formsOf(bytes)).filter(fits);
    this.shortest = Math.min(...forms.map(({ length }) => length));
    this.#blobs = packed(forms).map((group) => {
      const bytes = GuardedBytes.take(joined(group));
      key.wipesToo(bytes);
      return { bytes, lengths: group.map(({ length }) => length) };
    });
    wipeForms(forms);
  }

  find(text: Buffer): readonly Span[] {
    return this.#use((forms) => findForms(forms, text));
  }

  /** See maskForms. */
  mask(text: Buffer): number {
    return text.length < this.shortest ? 0 : this.#use((forms) => maskForms(forms, text));
  }

  /** Where forms stand in `text`, and how much of its end could be the beginning of one. */
  search(text: Buffer): { readonly spans: readonly Span[]; readonly started: number } {
    return this.#use((forms) => {
      const spans = findForms(forms, text);
      return { spans, started: startedBytes(forms, text, spans.at(-1)?.end ?? 0) };
    });
  }

  /** Forms as views of guarded memory, open for the time of the call. */
  #use<T>(work: (forms: readonly Uint8Array[]) => T): T {
    const opened: Uint8Array[] = [];
    const openFrom = (index: number): T => {
      const blob = this.#blobs[index];
      if (!blob) return work(opened);
      return blob.bytes.use((bytes) => {
        let at = 0;
        for (const length of blob.lengths) {
          opened.push(bytes.subarray(at, at + length));
          at += length;
        }
        return openFrom(index + 1);
      });
    };
    return openFrom(0);
  }
}

/** Only of a value of control characters is a form larger than guarded memory: it is not looked for. */
function fits(form: Uint8Array): boolean {
  if (form.length <= MAX_GUARDED_BYTES) return true;
  form.fill(0);
  return false;
}

/** Not in JavaScript's heap; the caller wipes it. */
function joined(group: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(new ArrayBuffer(group.reduce((sum, { length }) => sum + length, 0)));
  let at = 0;
  for (const form of group) {
    out.set(form, at);
    at += form.length;
  }
  return out;
}

function packed(forms: readonly Uint8Array[]): readonly (readonly Uint8Array[])[] {
  const groups: Uint8Array[][] = [];
  let room = 0;
  for (const form of forms) {
    if (room < form.length) {
      groups.push([]);
      room = MAX_GUARDED_BYTES;
    }
    groups.at(-1)?.push(form);
    room -= form.length;
  }
  return groups;
}
