/** The parameters of Argon2id (RFC 9106) that a passphrase was used with, as they stand in a recipient and in a URI. */
import { fromBase64Url, toBase64Url } from "../../base/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";

export interface Cost {
  readonly memoryKib: number;
  readonly passes: number;
  readonly lanes: number;
}

export interface Parameters extends Cost {
  readonly salt: Uint8Array;
}

export const SALT_BYTES = 16;

/** Twice the memory that RFC 9106 asks of machines with little of it, in about a second. */
const DEFAULT: Cost = { memoryKib: 128 * 1024, passes: 3, lanes: 4 };
/** What is still made: less memory or work than this is cheap to guess. */
const MIN_MEMORY_KIB = 19 * 1024;
const MIN_WORK_KIB = 2 * MIN_MEMORY_KIB;

const URI = /^passphrase:(?:\?memory-mib=([1-9]\d{0,3})&passes=([1-9]\d?))?$/;
const KEY_ID = /^argon2id:v=19,m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9}),salt=([A-Za-z0-9_-]{22})$/;

/** `passphrase:` or `passphrase:?memory-mib=N&passes=N`. Throws KMS_URI_UNKNOWN. */
export function parsePassphraseUri(uri: string): Cost {
  const [found, memory, passes] = URI.exec(uri) ?? [];
  if (found === undefined) throw backendError("KMS_URI_UNKNOWN", { detail: "it is passphrase: alone" });
  if (memory === undefined) return DEFAULT;
  const cost = { memoryKib: Number(memory) * 1024, passes: Number(passes), lanes: DEFAULT.lanes };
  if (isAffordable(cost) && cost.memoryKib >= MIN_MEMORY_KIB && cost.memoryKib * cost.passes >= MIN_WORK_KIB)
    return cost;
  throw backendError("KMS_URI_UNKNOWN", {
    detail: `memory-mib is 19 to ${BACKEND_LIMITS.passphraseMemoryKib / 1024}, memory-mib times passes 38 to ${BACKEND_LIMITS.passphraseWorkKib / 1024}`,
  });
}

export function writeParameters({ memoryKib, passes, lanes, salt }: Parameters): string {
  return `argon2id:v=19,m=${memoryKib},t=${passes},p=${lanes},salt=${toBase64Url(salt)}`;
}

/** Undefined for the id of another kind of key. What it asks for may be too much: see `isAffordable`. */
export function readParameters(keyId: string): Parameters | undefined {
  const [, memory, passes, lanes, salt = ""] = KEY_ID.exec(keyId) ?? [];
  const bytes = fromBase64Url(salt);
  if (memory === undefined || bytes?.length !== SALT_BYTES) return undefined;
  return { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes), salt: bytes };
}

/** Whether a stranger's parameters are worked with: they cost memory and seconds before anything is authentic. */
export function isAffordable({ memoryKib, passes, lanes }: Cost): boolean {
  return (
    lanes <= BACKEND_LIMITS.passphraseLanes &&
    passes <= BACKEND_LIMITS.passphrasePasses &&
    memoryKib >= 8 * lanes &&
    memoryKib <= BACKEND_LIMITS.passphraseMemoryKib &&
    memoryKib * passes <= BACKEND_LIMITS.passphraseWorkKib
  );
}
