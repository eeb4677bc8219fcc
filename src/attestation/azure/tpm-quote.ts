/** A quote of a TPM 2.0 (TPMS_ATTEST with TPMS_QUOTE_INFO, TCG TPM 2.0 Library part 2, section 10.12), big-endian. */
import { createHash, type KeyObject, verify } from "node:crypto";
import { concatBytes } from "../../base/index.ts";
import { evidenceRefused } from "../errors.ts";
import { AZURE_LIMITS } from "./limits.ts";

export interface TpmQuote {
  /** What the caller of the TPM bound into the quote. */
  readonly extraData: Uint8Array;
  readonly resetCount: number;
  readonly restartCount: number;
  /** Registers of the SHA-256 bank, ascending. */
  readonly selected: readonly number[];
  /** SHA-256 over the values of those. */
  readonly pcrDigest: Uint8Array;
}

const MAGIC = 0xff544347;
const QUOTE = 0x8018;
const SHA256 = 0x000b;

/** Throws EVIDENCE_REFUSED with `azure.quote.format`; nothing may follow the quote. */
export function parseTpmQuote(message: Uint8Array): TpmQuote {
  if (message.length > AZURE_LIMITS.quoteBytes) throw malformed();
  const reader = new Reader(message);
  if (reader.number(4) !== MAGIC || reader.number(2) !== QUOTE) throw malformed();
  reader.sized();
  const extraData = reader.sized();
  reader.bytes(8);
  const [resetCount, restartCount] = [reader.number(4), reader.number(4)];
  reader.bytes(1 + 8);
  if (reader.number(4) !== 1 || reader.number(2) !== SHA256) throw malformed();
  const selected = listBits(reader.bytes(reader.number(1)));
  const pcrDigest = reader.sized();
  reader.end();
  if (pcrDigest.length !== 32 || selected.some((index) => index >= AZURE_LIMITS.pcrs)) throw malformed();
  return { extraData, resetCount, restartCount, selected, pcrDigest };
}

function listBits(map: Uint8Array): number[] {
  const all = Array.from({ length: map.length * 8 }, (_, bit) => bit);
  return all.filter((bit) => (((map[bit >> 3] ?? 0) >> (bit & 7)) & 1) === 1);
}

/** RSASSA-PKCS1-v1_5 with SHA-256, which is what Azure's key signs with. */
export function isSignedQuote(message: Uint8Array, signature: Uint8Array, key: KeyObject): boolean {
  return key.asymmetricKeyType === "rsa" && verify("sha256", message, key, signature);
}

/** SHA-256 over the values of the selected registers; undefined when one is missing. */
export function digestPcrs(selected: readonly number[], pcrs: readonly Uint8Array[]): Uint8Array | undefined {
  const values = selected.flatMap((index) => pcrs[index] ?? []);
  return values.length === selected.length
    ? createHash("sha256")
        .update(concatBytes(...values))
        .digest()
    : undefined;
}

/**
 * What a TPM is given to quote for 64 bytes of report data. A TPM takes 50 bytes at most where its largest hash is
 * SHA-384: report data that ends in 16 zeros goes without them, as the KBS protocol does; any other as its SHA-384.
 */
export function tpmQualifyingData(reportData: Uint8Array): Uint8Array {
  const tail = reportData.subarray(48);
  return tail.every((byte) => byte === 0)
    ? reportData.slice(0, 48)
    : new Uint8Array(createHash("sha384").update(reportData).digest());
}

const malformed = () => evidenceRefused("azure.quote.format");

class Reader {
  readonly #bytes: Uint8Array;
  #place = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  bytes(length: number): Uint8Array {
    const end = this.#place + length;
    if (end > this.#bytes.length) throw malformed();
    const out = this.#bytes.subarray(this.#place, end);
    this.#place = end;
    return out;
  }

  number(length: number): number {
    return this.bytes(length).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  /** TPM2B: a length of 16 bits and so many bytes. */
  sized(): Uint8Array {
    return this.bytes(this.number(2));
  }

  end(): void {
    if (this.#place !== this.#bytes.length) throw malformed();
  }
}
