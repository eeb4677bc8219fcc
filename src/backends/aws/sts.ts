/** The answer of AWS STS, in XML: its secrets are cut out as bytes. */
import { copySecret, wipe } from "../../base/index.ts";
import { backendError } from "../errors.ts";

export interface StsKeys {
  readonly accessKeyId: string;
  /** RFC 3339. */
  readonly expiration: string;
  /** The caller wipes it, and the next one. */
  readonly secretKey: Uint8Array;
  readonly sessionToken: Uint8Array;
}

const STAR = 0x2a;

/** The one `<Credentials>` of the answer, which is blotted out. Throws KMS_ANSWER_INVALID. */
export function takeSts(text: Uint8Array): StsKeys {
  const buffer = Buffer.from(text.buffer, text.byteOffset, text.length);
  const secretKey = cut(buffer, "SecretAccessKey");
  const sessionToken = cut(buffer, "SessionToken");
  const accessKeyId = /<AccessKeyId>([A-Za-z0-9]{4,128})<\/AccessKeyId>/.exec(buffer.toString("latin1"))?.[1];
  const expiration = /<Expiration>([0-9T:.+Z-]{20,40})<\/Expiration>/.exec(buffer.toString("latin1"))?.[1];
  buffer.fill(STAR);
  const sound = accessKeyId !== undefined && expiration !== undefined && !Number.isNaN(Date.parse(expiration));
  if (secretKey && sessionToken && sound) return { accessKeyId, expiration, secretKey, sessionToken };
  for (const secret of [secretKey, sessionToken]) wipe(secret ?? new Uint8Array(0));
  throw backendError("KMS_ANSWER_INVALID", { detail: "the credentials of AWS STS" });
}

function cut(text: Buffer, name: string): Uint8Array | undefined {
  const [open, close] = [`<${name}>`, `</${name}>`];
  const start = text.indexOf(open);
  const end = text.indexOf(close, start);
  if (start === -1 || end === -1 || text.indexOf(open, start + 1) !== -1) return undefined;
  const secret = copySecret(text.subarray(start + open.length, end));
  text.fill(STAR, start + open.length, end);
  const plain = secret.length > 0 && secret.every((byte) => /[A-Za-z0-9+/=_.-]/.test(String.fromCharCode(byte)));
  if (plain) return secret;
  wipe(secret);
  return undefined;
}
