/** An S3 object that is sent in parts: each with its SHA-256, the whole with the SHA-256 of those. */
import { createHash } from "node:crypto";
import { toBase64, toHex, utf8 } from "../../base/index.ts";
import { childText, encodeKey, readXml, xmlCode } from "../objects/answer.ts";
import { isConfirmed, sha256 } from "../objects/checksum.ts";
import { storeError } from "../objects/errors.ts";
import type { PartUpload, PutResult } from "../objects/service.ts";
import { checksumHeaders } from "./checksum.ts";
import { s3Refusal } from "./errors.ts";
import type { CopiedPart } from "./join.ts";
import type { S3 } from "./s3.ts";

interface Part {
  readonly tag: string;
  /** None of what was copied: who has no bytes has no checksum. */
  readonly sum?: Uint8Array;
  readonly confirmed: boolean;
}

export class S3Upload implements PartUpload {
  readonly inOrder = false;
  readonly #s3: S3;
  readonly #key: string;
  readonly #uploadId: string;
  readonly #condition: Readonly<Record<string, string>>;
  readonly #parts = new Map<number, Part>();

  private constructor(s3: S3, key: string, uploadId: string, condition: Readonly<Record<string, string>>) {
    this.#s3 = s3;
    this.#key = key;
    this.#uploadId = uploadId;
    this.#condition = condition;
  }

  /** `isCopied`: all parts go without a checksum of their own, since S3 takes none or one of each. */
  static async begin(
    s3: S3,
    key: string,
    condition: Readonly<Record<string, string>>,
    isCopied = false,
  ): Promise<S3Upload> {
    const headers: Record<string, string> = isCopied ? {} : { "x-amz-checksum-algorithm": "SHA256" };
    const answer = await s3.call({ method: "POST", key, query: { uploads: "" }, headers });
    if (answer.status !== 200) throw s3Refusal(answer, s3.place);
    const uploadId = childText(readXml(answer.body, "InitiateMultipartUploadResult", s3.place.uri), "UploadId");
    if (!uploadId || uploadId.length > 1_024)
      throw storeError("STORE_ANSWER_INVALID", { detail: `${s3.place.uri}, no upload id` });
    return new S3Upload(s3, key, uploadId, condition);
  }

  async send(number: number, bytes: Uint8Array): Promise<void> {
    const sum = sha256(bytes);
    const query = { partNumber: String(number), uploadId: this.#uploadId };
    const headers = checksumHeaders(sum);
    const answer = await this.#s3.call({ method: "PUT", key: this.#key, query, headers, body: bytes }, toHex(sum));
    if (answer.status !== 200) throw s3Refusal(answer, this.#s3.place);
    const tag = this.#partTag(answer.headers.etag);
    const confirmed = isConfirmed(answer.headers["x-amz-checksum-sha256"], toBase64(sum), this.#key);
    this.#parts.set(number, { tag, sum, confirmed });
  }

  /** Bytes of ours among those that are copied; the signature holds their SHA-256. */
  async sendBeside(number: number, body: Uint8Array): Promise<void> {
    const query = { partNumber: String(number), uploadId: this.#uploadId };
    const answer = await this.#s3.call({ method: "PUT", key: this.#key, query, body });
    if (answer.status !== 200) throw s3Refusal(answer, this.#s3.place);
    this.#parts.set(number, { tag: this.#partTag(answer.headers.etag), confirmed: false });
  }

  /** False where the service does not know how. S3 may answer 200 and then say in the body that it failed. */
  async copy(number: number, { name, tag, start, end }: CopiedPart): Promise<boolean> {
    const { place } = this.#s3;
    const query = { partNumber: String(number), uploadId: this.#uploadId };
    const headers = {
      "x-amz-copy-source": `${place.bucket}/${encodeKey(name)}`,
      "x-amz-copy-source-if-match": tag,
      "x-amz-copy-source-range": `bytes=${start}-${end - 1}`,
    };
    const answer = await this.#s3.call({ method: "PUT", key: this.#key, query, headers });
    if (answer.status === 501 || xmlCode(answer) === "NotImplemented") return false;
    if (answer.status === 412 || xmlCode(answer) === "NoSuchKey") throw storeError("BLOB_CHANGED", { detail: name });
    if (answer.status !== 200 || xmlCode(answer) !== "")
      throw s3Refusal(answer.status === 200 ? { ...answer, status: 500 } : answer, place);
    const said = childText(readXml(answer.body, "CopyPartResult", place.uri), "ETag");
    this.#parts.set(number, { tag: this.#partTag(said), confirmed: false });
    return true;
  }

  #partTag(said: string | undefined): string {
    if (said !== undefined && /^"?[A-Za-z0-9+/=_.-]{1,256}"?$/.test(said)) return said;
    throw storeError("STORE_ANSWER_INVALID", { detail: `${this.#s3.place.uri}, no ETag of a part` });
  }

  /** S3 may answer 200 and then say in the body that it failed. */
  async finish(): Promise<PutResult> {
    const parts = [...this.#parts].sort(([a], [b]) => a - b);
    const body = utf8(completion(parts));
    const headers = { "content-type": "application/xml", ...this.#condition };
    const query = { uploadId: this.#uploadId };
    const answer = await this.#s3.call({ method: "POST", key: this.#key, query, headers, body });
    const whole = createHash("sha256");
    for (const [, { sum }] of parts) if (sum) whole.update(sum);
    const expected = `${whole.digest("base64")}-${parts.length}`;
    if (xmlCode(answer) === "NoSuchUpload") return this.#finished(parts.length, expected);
    if (answer.status !== 200 || xmlCode(answer) !== "")
      throw s3Refusal(answer.status === 200 ? { ...answer, status: 500 } : answer, this.#s3.place);
    const said = childText(readXml(answer.body, "CompleteMultipartUploadResult", this.#s3.place.uri), "ChecksumSHA256");
    if (said?.endsWith(`-${parts.length}`)) isConfirmed(said, expected, this.#key);
    return { confirmed: parts.every(([, { confirmed }]) => confirmed) };
  }

  /**
   * The first answer to `finish` was lost, and the upload is gone because it worked: the object has the checksum of its
   * parts, or an ETag that ends with their number where the service keeps none. Or another writer gave the upload up.
   */
  async #finished(parts: number, expected: string): Promise<PutResult> {
    const headers = { "x-amz-checksum-mode": "ENABLED" };
    const answer = await this.#s3.call({ method: "HEAD", key: this.#key, headers });
    if (answer.status !== 200) throw storeError("BLOBS_UNREACHABLE", { detail: `${this.#key}, its upload is gone` });
    const said = answer.headers["x-amz-checksum-sha256"];
    if (said === expected) return { confirmed: true };
    if (said === undefined && /-(\d+)"?$/.exec(answer.headers.etag ?? "")?.[1] === String(parts))
      return { confirmed: false };
    throw storeError("BLOB_EXISTS", { detail: this.#key });
  }

  async abort(): Promise<void> {
    await this.#s3.abort(this.#key, this.#uploadId).catch(() => undefined);
  }
}

function completion(parts: readonly (readonly [number, Part])[]): string {
  const lines = parts.map(([number, { tag, sum, confirmed }]) => {
    const checksum = confirmed && sum ? `<ChecksumSHA256>${toBase64(sum)}</ChecksumSHA256>` : "";
    return `<Part><PartNumber>${number}</PartNumber><ETag>${tag.replaceAll('"', "&quot;")}</ETag>${checksum}</Part>`;
  });
  return `<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">${lines.join("")}</CompleteMultipartUpload>`;
}
