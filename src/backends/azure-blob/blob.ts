/** Blobs of Azure: ranges that are pinned, blocks that nobody sees before their list is committed. */
import { toBase64, toHex, utf8 } from "../../base/index.ts";
import { openAzureTokens } from "../azure/login.ts";
import {
  childrenOf,
  childText,
  encodeKey,
  encodeQuery,
  lengthOf,
  readXml,
  refusal,
  xmlCode,
} from "../objects/answer.ts";
import { isConfirmed, md5 } from "../objects/checksum.ts";
import { storeError } from "../objects/errors.ts";
import { type ObjectAnswer, ObjectHttp, type ObjectRequest } from "../objects/http.ts";
import { authoritiesOf } from "../objects/origin.ts";
import { isOwnWrite } from "../objects/own-write.ts";
import { type FullStorePorts, fullStorePorts, type StorePorts, withLogin } from "../objects/ports.ts";
import type { ObjectInfo, ObjectService, PartUpload, PutCondition, PutResult } from "../objects/service.ts";
import { type AzureLogin, authorize } from "./authorize.ts";
import { type AzurePlace, parseAzureUri } from "./place.ts";

const VERSION = "2021-12-02";
const UPLOAD_BYTES = 16;
/** Of 64 bytes each, before base64: all of one blob have one length. Two uploads of one blob never name one block. */
const blockId = (upload: string, number: number) =>
  toBase64(utf8(`modelkeep-${upload}-${String(number).padStart(21, "0")}`));

interface Call {
  readonly method: ObjectRequest["method"];
  /** Without it the container itself is asked. */
  readonly name?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

export async function openAzureBlob(uri: string, given: StorePorts): Promise<{ service: ObjectService; base: string }> {
  const ports = fullStorePorts(given);
  const place = parseAzureUri(uri, ports.env);
  const http = new ObjectHttp(place.origin, ports, await authoritiesOf(ports.env.SSL_CERT_FILE));
  return { service: new AzureBlob(place, http, ports), base: place.base };
}

class AzureBlob implements ObjectService {
  readonly #place: AzurePlace;
  readonly #http: ObjectHttp;
  readonly #ports: FullStorePorts;
  readonly #login: AzureLogin;

  constructor(place: AzurePlace, http: ObjectHttp, ports: FullStorePorts) {
    this.#place = place;
    this.#http = http;
    this.#ports = ports;
    this.#login = { env: ports.env, tokens: withLogin(ports, openAzureTokens) };
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    const answer = await this.#call({ method: "HEAD", name });
    if (answer.status === 404 && xmlCode(answer) !== "ContainerNotFound") return undefined;
    if (answer.status !== 200) throw this.#refused(answer);
    return { bytes: lengthOf(answer, this.#place.uri), tag: this.#tagOf(answer) };
  }

  async read(name: string, tag: string, range: { start: number; end: number }, into: Uint8Array) {
    const make = (start: number) =>
      this.#make({
        method: "GET",
        name,
        headers: { "x-ms-range": `bytes=${start}-${range.end - 1}`, "if-match": tag },
      });
    const check = (answer: ObjectAnswer) => {
      if (this.#tagOf(answer) !== tag) throw storeError("BLOB_CHANGED", { detail: name });
    };
    const outcome = await this.#http.download({ ...range, make, check }, into);
    if ("bytes" in outcome) return outcome.bytes;
    const { answer } = outcome;
    if (answer.status === 404) return undefined;
    if (answer.status === 412) throw storeError("BLOB_CHANGED", { detail: name });
    throw this.#refused(answer);
  }

  async put(name: string, bytes: Uint8Array, condition: PutCondition): Promise<PutResult> {
    const sum = toBase64(md5(bytes));
    const headers = { "x-ms-blob-type": "BlockBlob", "content-md5": sum, ...conditionHeaders(condition) };
    const answer = await this.#call({ method: "PUT", name, headers, body: bytes });
    if (await isOwnWrite(this, name, bytes, answer)) return { confirmed: true };
    if (answer.status !== 201) throw this.#refused(answer);
    return { confirmed: isConfirmed(answer.headers["content-md5"], sum, name) };
  }

  /** Blocks are given up by Azure after a week, or when the blob is written, by whomever. */
  async putParts(name: string, condition: PutCondition): Promise<PartUpload> {
    const upload = toHex(this.#ports.random.bytes(UPLOAD_BYTES));
    const blocks = new Map<number, boolean>();
    return {
      inOrder: false,
      send: async (number, body) => {
        const sum = toBase64(md5(body));
        const query = { comp: "block", blockid: blockId(upload, number) };
        const answer = await this.#call({ method: "PUT", name, query, headers: { "content-md5": sum }, body });
        if (answer.status !== 201) throw this.#refused(answer);
        blocks.set(number, isConfirmed(answer.headers["content-md5"], sum, name));
      },
      finish: async () => {
        const numbers = [...blocks.keys()].sort((a, b) => a - b);
        const list = numbers.map((number) => `<Latest>${blockId(upload, number)}</Latest>`).join("");
        const body = utf8(`<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`);
        const headers = { "content-type": "application/xml", ...conditionHeaders(condition) };
        const answer = await this.#call({ method: "PUT", name, query: { comp: "blocklist" }, headers, body });
        if (answer.status !== 201) throw this.#refused(answer);
        return { confirmed: [...blocks.values()].every((confirmed) => confirmed) };
      },
      abort: async () => undefined,
    };
  }

  async delete(name: string): Promise<boolean> {
    const answer = await this.#call({ method: "DELETE", name });
    if (answer.status === 404 && xmlCode(answer) !== "ContainerNotFound") return answer.mayBeDone ?? false;
    if (answer.status !== 202) throw this.#refused(answer);
    return true;
  }

  async list(prefix: string, from: string | undefined) {
    const query = {
      restype: "container",
      comp: "list",
      maxresults: String(this.#ports.limits.pageNames),
      prefix,
      ...(from === undefined ? {} : { marker: from }),
    };
    const answer = await this.#call({ method: "GET", query });
    if (answer.status !== 200) throw this.#refused(answer);
    const root = readXml(answer.body, "EnumerationResults", this.#place.uri);
    const names = childrenOf(root, "Blobs").flatMap((list) =>
      childrenOf(list, "Blob").map((blob) => childText(blob, "Name") ?? ""),
    );
    return { names, next: childText(root, "NextMarker") || undefined };
  }

  async discardUnfinished(): Promise<void> {}

  #call(call: Call): Promise<ObjectAnswer> {
    return this.#http.send(() => this.#make(call));
  }

  async #make({ method, name, query = {}, headers: given, body }: Call): Promise<ObjectRequest> {
    const { container, root } = this.#place;
    const path = `${root}/${container}${name === undefined ? "" : `/${encodeKey(name)}`}`;
    const date = new Date(this.#ports.clock.now()).toUTCString();
    const headers = { "x-ms-version": VERSION, "x-ms-date": date, ...given };
    const request = { method, path, query, headers, bodyBytes: body?.length ?? 0 };
    const authorized = await authorize(request, this.#place, this.#login);
    const text = [encodeQuery(query), authorized.query].filter((part) => part !== "").join("&");
    const full = {
      method,
      path: text === "" ? path : `${path}?${text}`,
      headers: { ...headers, ...authorized.headers },
    };
    return body === undefined ? full : { ...full, body };
  }

  #tagOf({ headers }: ObjectAnswer): string {
    const tag = headers.etag ?? "";
    if (/^"[^"]{1,256}"$/.test(tag)) return tag;
    throw storeError("STORE_ANSWER_INVALID", { detail: `${this.#place.uri}, no ETag` });
  }

  #refused(answer: ObjectAnswer) {
    const code = xmlCode(answer);
    const { uri } = this.#place;
    if (code === "AuthenticationFailed" || code === "InvalidAuthenticationInfo")
      return storeError("STORE_CREDENTIALS_REFUSED", { detail: `${uri}, ${code}` });
    if (code === "InvalidBlockList") return storeError("BLOB_EXISTS", { detail: `${uri}, ${code}` });
    if (code === "Md5Mismatch") return storeError("BLOB_DAMAGED", { detail: `${uri}, ${code}` });
    return refusal(answer, uri, code);
  }
}

function conditionHeaders(condition: PutCondition): Record<string, string> {
  if (!condition) return {};
  return "absent" in condition ? { "if-none-match": "*" } : { "if-match": condition.tag };
}
