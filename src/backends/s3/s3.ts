/** Objects of S3 and of what speaks its protocol: signed requests, ranges that are pinned, uploads in parts. */
import { toBase64, toHex } from "../../base/index.ts";
import { AwsCredentialSource, wipeCredentials } from "../aws/credentials.ts";
import { signRequest } from "../aws/sigv4.ts";
import { childrenOf, childText, encodeKey, encodeQuery, lengthOf, readXml } from "../objects/answer.ts";
import { isConfirmed, sha256 } from "../objects/checksum.ts";
import { storeError } from "../objects/errors.ts";
import { type ObjectAnswer, ObjectHttp, type ObjectRequest } from "../objects/http.ts";
import { authoritiesOf } from "../objects/origin.ts";
import { isOwnWrite } from "../objects/own-write.ts";
import { asStoreError, type FullStorePorts, fullStorePorts, type StorePorts } from "../objects/ports.ts";
import type {
  ObjectInfo,
  ObjectPiece,
  ObjectService,
  PartUpload,
  PutCondition,
  PutResult,
} from "../objects/service.ts";
import { revealText } from "../private-file.ts";
import { checksumHeaders } from "./checksum.ts";
import { isS3Throttling, s3Refusal } from "./errors.ts";
import { joinedParts } from "./join.ts";
import { parseS3Uri, type S3Place } from "./place.ts";
import { S3Upload } from "./upload.ts";

export interface S3Call {
  readonly method: ObjectRequest["method"];
  /** Without it the bucket itself is asked. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

const NOTHING = new Uint8Array(0);
const QUOTED = /^"?([^"]{1,256})"?$/;

export async function openS3(uri: string, given: StorePorts): Promise<{ service: ObjectService; base: string }> {
  const ports = fullStorePorts(given);
  const place = parseS3Uri(uri, ports.env);
  const ca = await authoritiesOf(ports.env.AWS_CA_BUNDLE, ports.env.SSL_CERT_FILE);
  return { service: new S3(place, new ObjectHttp(place.origin, ports, ca), ports), base: place.base };
}

export class S3 implements ObjectService {
  readonly place: S3Place;
  readonly #http: ObjectHttp;
  readonly #ports: FullStorePorts;
  readonly #credentials: AwsCredentialSource;

  constructor(place: S3Place, http: ObjectHttp, ports: FullStorePorts) {
    this.place = place;
    this.#http = http;
    this.#ports = ports;
    this.#credentials = new AwsCredentialSource(ports, place.region);
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    const answer = await this.call({ method: "HEAD", key: name });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw s3Refusal(answer, this.place);
    return { bytes: lengthOf(answer, this.place.uri), tag: this.#tagOf(answer) };
  }

  async read(name: string, tag: string, range: { start: number; end: number }, into: Uint8Array) {
    const make = (start: number) =>
      this.#signed({
        method: "GET",
        key: name,
        headers: { range: `bytes=${start}-${range.end - 1}`, "if-match": tag },
      });
    const check = (answer: ObjectAnswer) => {
      if (this.#tagOf(answer) !== tag) throw storeError("BLOB_CHANGED", { detail: name });
    };
    const outcome = await this.#http.download({ ...range, make, check }, into);
    if ("bytes" in outcome) return outcome.bytes;
    const { answer } = outcome;
    if (answer.status === 404) return undefined;
    if (answer.status === 412) throw storeError("BLOB_CHANGED", { detail: name });
    throw s3Refusal(answer, this.place);
  }

  async put(name: string, bytes: Uint8Array, condition: PutCondition): Promise<PutResult> {
    const sum = sha256(bytes);
    const headers = { ...checksumHeaders(sum), ...conditionHeaders(condition) };
    const answer = await this.call({ method: "PUT", key: name, headers, body: bytes }, toHex(sum));
    if (await isOwnWrite(this, name, bytes, answer)) return { confirmed: true };
    if (answer.status !== 200) throw s3Refusal(answer, this.place);
    return { confirmed: isConfirmed(answer.headers["x-amz-checksum-sha256"], toBase64(sum), name) };
  }

  putParts(name: string, condition: PutCondition): Promise<PartUpload> {
    return S3Upload.begin(this, name, conditionHeaders(condition));
  }

  /** Copies run side by side: the service reads and writes, this machine waits. */
  async join(name: string, pieces: readonly ObjectPiece[], condition: PutCondition): Promise<boolean> {
    const { limits } = this.#ports;
    const upload = await S3Upload.begin(this, name, conditionHeaders(condition), true);
    const sending = new Set<Promise<boolean>>();
    let number = 0;
    try {
      for await (const part of joinedParts(this, pieces, limits)) {
        const at = ++number;
        const sent = "bytes" in part ? upload.sendBeside(at, part.bytes).then(() => true) : upload.copy(at, part);
        sending.add(sent);
        sent.catch(() => undefined);
        if (sending.size >= limits.partsAtOnce && !(await takeFirst(sending))) return await giveUp(upload, sending);
      }
      while (sending.size > 0) if (!(await takeFirst(sending))) return await giveUp(upload, sending);
      await upload.finish();
      return true;
    } catch (error) {
      await giveUp(upload, sending);
      throw error;
    }
  }

  /** S3 answers a deletion in the same way whether there was an object, so it is looked for first. */
  async delete(name: string): Promise<boolean> {
    if (!(await this.stat(name))) return false;
    const answer = await this.call({ method: "DELETE", key: name });
    if (answer.status !== 204 && answer.status !== 200 && answer.status !== 404) throw s3Refusal(answer, this.place);
    return true;
  }

  async list(prefix: string, from: string | undefined) {
    const { limits } = this.#ports;
    const query = {
      "list-type": "2",
      "encoding-type": "url",
      "max-keys": String(limits.pageNames),
      prefix,
      ...(from === undefined ? {} : { "continuation-token": from }),
    };
    const answer = await this.call({ method: "GET", query });
    if (answer.status !== 200) throw s3Refusal(answer, this.place);
    const root = readXml(answer.body, "ListBucketResult", this.place.uri);
    const names = childrenOf(root, "Contents").map((entry) => this.#decoded(root, childText(entry, "Key")));
    const more = childText(root, "IsTruncated") === "true";
    return { names, next: more ? this.#needed(childText(root, "NextContinuationToken")) : undefined };
  }

  async discardUnfinished(prefix: string): Promise<void> {
    const { limits } = this.#ports;
    let markers: Record<string, string> = {};
    for (let seen = 0; seen < limits.unfinishedUploads; ) {
      const query = {
        uploads: "",
        "encoding-type": "url",
        "max-uploads": String(limits.pageNames),
        prefix,
        ...markers,
      };
      const answer = await this.call({ method: "GET", query });
      if (answer.status === 501) return;
      if (answer.status !== 200) throw s3Refusal(answer, this.place);
      const root = readXml(answer.body, "ListMultipartUploadsResult", this.place.uri);
      const uploads = childrenOf(root, "Upload");
      for (const upload of uploads) {
        const key = this.#decoded(root, childText(upload, "Key"));
        if (key.startsWith(prefix)) await this.abort(key, this.#needed(childText(upload, "UploadId")));
      }
      if (childText(root, "IsTruncated") !== "true" || uploads.length === 0) return;
      seen += uploads.length;
      markers = {
        "key-marker": this.#needed(childText(root, "NextKeyMarker")),
        "upload-id-marker": this.#needed(childText(root, "NextUploadIdMarker")),
      };
    }
  }

  async abort(key: string, uploadId: string): Promise<void> {
    const answer = await this.call({ method: "DELETE", key, query: { uploadId } });
    if (answer.status !== 204 && answer.status !== 200 && answer.status !== 404) throw s3Refusal(answer, this.place);
  }

  call(call: S3Call, bodyHash?: string): Promise<ObjectAnswer> {
    return this.#http.send(() => this.#signed(call, bodyHash), { asksForLater: isS3Throttling });
  }

  /** Credentials are read for each request: those of a profile may have been rotated. */
  async #signed(call: S3Call, knownHash?: string): Promise<ObjectRequest> {
    const { place } = this;
    const body = call.body ?? NOTHING;
    const bodyHash = knownHash ?? toHex(sha256(body));
    const credentials = await this.#credentials.get().catch(asStoreError);
    try {
      const { sessionToken } = credentials;
      const headers = {
        host: place.host,
        "x-amz-content-sha256": bodyHash,
        ...call.headers,
        ...(sessionToken ? { "x-amz-security-token": revealText(sessionToken) } : {}),
      };
      const path = call.key === undefined ? place.root || "/" : `${place.root}/${encodeKey(call.key)}`;
      const query = encodeQuery(call.query ?? {});
      const { region } = place;
      const now = this.#ports.clock.now();
      const request = { method: call.method, path, query, headers, body, bodyHash, region, service: "s3", now };
      const signed = signRequest(request, credentials);
      const full = { method: call.method, path: query === "" ? path : `${path}?${query}`, headers: signed };
      return call.body === undefined ? full : { ...full, body: call.body };
    } finally {
      wipeCredentials(credentials);
    }
  }

  /** Without one no read could be told from a read of another object. */
  #tagOf(answer: ObjectAnswer): string {
    const tag = QUOTED.exec(answer.headers.etag ?? "")?.[1];
    if (tag === undefined) throw storeError("STORE_ANSWER_INVALID", { detail: `${this.place.uri}, no ETag` });
    return `"${tag}"`;
  }

  #needed(text: string | undefined): string {
    if (text === undefined || text === "")
      throw storeError("STORE_ANSWER_INVALID", { detail: `${this.place.uri}, half a list` });
    return text;
  }

  #decoded(root: Parameters<typeof childText>[0], text: string | undefined): string {
    const key = this.#needed(text);
    if (childText(root, "EncodingType") !== "url") return key;
    try {
      return decodeURIComponent(key.replaceAll("+", " "));
    } catch {
      throw storeError("STORE_ANSWER_INVALID", { detail: `${this.place.uri}, a name in a list` });
    }
  }
}

async function takeFirst(sending: Set<Promise<boolean>>): Promise<boolean> {
  const [first] = sending;
  if (!first) return true;
  sending.delete(first);
  return first;
}

async function giveUp(upload: S3Upload, sending: Set<Promise<boolean>>): Promise<false> {
  await Promise.allSettled(sending);
  await upload.abort();
  return false;
}

function conditionHeaders(condition: PutCondition): Record<string, string> {
  if (!condition) return {};
  return "absent" in condition ? { "if-none-match": "*" } : { "if-match": condition.tag };
}
