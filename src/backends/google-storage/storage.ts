/** Objects of Google Cloud Storage by its JSON API: pinned by generation, sent in sessions that go on where they broke. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { ModelkeepError, parseJson, toBase64, toHex, utf8, wipe } from "../../base/index.ts";
import type { AccessTokens } from "../access-tokens.ts";
import { openGoogleTokens } from "../google/login.ts";
import { encodePart, encodeQuery, refusal } from "../objects/answer.ts";
import { isConfirmed, md5 } from "../objects/checksum.ts";
import { storeError } from "../objects/errors.ts";
import { type ObjectAnswer, ObjectHttp, type ObjectRequest } from "../objects/http.ts";
import { STORE_LIMITS } from "../objects/limits.ts";
import { authoritiesOf, baseOf, secureOrigin } from "../objects/origin.ts";
import { isOwnWrite } from "../objects/own-write.ts";
import { type FullStorePorts, fullStorePorts, type StorePorts, withLogin } from "../objects/ports.ts";
import type {
  ObjectInfo,
  ObjectPiece,
  ObjectService,
  PartUpload,
  PutCondition,
  PutResult,
} from "../objects/service.ts";

const URI = /^gs:\/\/([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:\/(.*))?$/;
const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";
const ABSENT = "0";
const SCRATCH_BYTES = 8;

const object = z.object({
  name: z.string(),
  size: z.string().regex(/^\d{1,16}$/),
  generation: z.string().regex(/^\d{1,20}$/),
  md5Hash: z.string().max(64).optional(),
});
const list = z.object({
  items: z
    .array(z.object({ name: z.string() }))
    .max(STORE_LIMITS.pageNames * 4)
    .optional(),
  nextPageToken: z.string().max(8_192).optional(),
});

interface Call {
  readonly method: ObjectRequest["method"];
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly once?: boolean;
}

/** `gs://BUCKET[/PREFIX]`; STORAGE_EMULATOR_HOST names another endpoint, which gets no token. */
export async function openGoogleStorage(
  uri: string,
  given: StorePorts,
): Promise<{ service: ObjectService; base: string }> {
  const ports = fullStorePorts(given);
  const [, bucket, rest] = (uri.length <= STORE_LIMITS.uriCharacters && URI.exec(uri)) || [];
  if (bucket === undefined)
    throw storeError("STORE_URI_INVALID", { detail: "it is gs://BUCKET or gs://BUCKET/PREFIX" });
  const emulator = ports.env.STORAGE_EMULATOR_HOST;
  const url = secureOrigin(emulator || "https://storage.googleapis.com", "STORAGE_EMULATOR_HOST");
  if (url.pathname !== "/")
    throw storeError("STORE_URI_INVALID", {
      detail: "STORAGE_EMULATOR_HOST has a path",
      hint: `export STORAGE_EMULATOR_HOST=${url.origin}`,
    });
  const http = new ObjectHttp(url.origin, ports, await authoritiesOf(ports.env.SSL_CERT_FILE));
  const client = new GoogleStorage({ uri, bucket, isEmulator: Boolean(emulator) }, http, ports);
  return { service: client, base: baseOf(rest) };
}

/** An object as it was under that generation. */
interface Composed {
  readonly name: string;
  readonly tag: string;
}

interface GooglePlace {
  readonly uri: string;
  readonly bucket: string;
  readonly isEmulator: boolean;
}

class GoogleStorage implements ObjectService {
  readonly #place: GooglePlace;
  readonly #http: ObjectHttp;
  readonly #ports: FullStorePorts;
  readonly #tokens: AccessTokens;

  constructor(place: GooglePlace, http: ObjectHttp, ports: FullStorePorts) {
    this.#place = place;
    this.#http = http;
    this.#ports = ports;
    this.#tokens = withLogin(ports, openGoogleTokens);
  }

  async stat(name: string): Promise<ObjectInfo | undefined> {
    const answer = await this.#call({ method: "GET", path: this.#path(name) });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw this.#refused(answer);
    const { size, generation } = this.#read(answer, object);
    return { bytes: Number(size), tag: generation };
  }

  async read(name: string, tag: string, range: { start: number; end: number }, into: Uint8Array) {
    const query = { alt: "media", ifGenerationMatch: tag };
    const make = (start: number) => {
      const headers = { range: `bytes=${start}-${range.end - 1}`, "accept-encoding": "gzip" };
      return this.#make({ method: "GET", path: this.#path(name), query, headers });
    };
    const check = ({ headers }: ObjectAnswer) => {
      const generation = headers["x-goog-generation"];
      if (generation !== undefined && generation !== tag) throw storeError("BLOB_CHANGED", { detail: name });
    };
    const outcome = await this.#http.download({ ...range, make, check }, into);
    if ("bytes" in outcome) return outcome.bytes;
    const { answer } = outcome;
    if (answer.status === 404) return undefined;
    if (answer.status === 412) throw storeError("BLOB_CHANGED", { detail: name });
    throw this.#refused(answer);
  }

  async put(name: string, bytes: Uint8Array, condition: PutCondition): Promise<PutResult> {
    const query = { uploadType: "media", name, ...conditionQuery(condition) };
    const headers = { "content-type": "application/octet-stream" };
    const answer = await this.#call({ method: "POST", path: this.#uploads(), query, headers, body: bytes });
    if (await isOwnWrite(this, name, bytes, answer)) return { confirmed: true };
    return this.#stored(answer, name, toBase64(md5(bytes)));
  }

  /** The session holds what was sent for a week; nobody can list sessions, and they cost nothing. */
  async putParts(name: string, condition: PutCondition): Promise<PartUpload> {
    const query = { uploadType: "resumable", name, ...conditionQuery(condition) };
    const headers = { "content-type": "application/json", "x-upload-content-type": "application/octet-stream" };
    const path = this.#uploads();
    const answer = await this.#call({ method: "POST", path, query, headers, body: utf8("{}") });
    if (answer.status !== 200) throw this.#refused(answer);
    const session = this.#sessionOf(answer);
    const hash = createHash("md5");
    let sent = 0;
    let last: ObjectAnswer | undefined;
    return {
      inOrder: true,
      send: async (_number, bytes, isLast) => {
        hash.update(bytes);
        last = await this.#sendPart(session, { start: sent, bytes, isLast });
        sent += bytes.length;
      },
      finish: async () => {
        if (!last) throw storeError("STORE_ANSWER_INVALID", { detail: `${this.#place.uri}, an upload without an end` });
        return this.#stored(last, name, hash.digest("base64"));
      },
      abort: async () => {
        await this.#call({ method: "DELETE", path: session }).catch(() => undefined);
      },
    };
  }

  /** Google takes so many objects in one request: more are put together in groups first. */
  async join(name: string, pieces: readonly ObjectPiece[], condition: PutCondition, scratch: string): Promise<boolean> {
    const { composedObjects } = this.#ports.limits;
    const made: string[] = [];
    const fresh = () => {
      const at = `${scratch}join-${toHex(this.#ports.random.bytes(SCRATCH_BYTES))}`;
      made.push(at);
      return at;
    };
    try {
      let sources: Composed[] = [];
      for (const piece of pieces) sources.push("bytes" in piece ? await this.#putPiece(fresh(), piece.bytes) : piece);
      // Nobody else knows these names: without a condition what was made by a request whose answer is lost is made again.
      while (sources.length > composedObjects) {
        const groups: Composed[] = [];
        for (let at = 0; at < sources.length; at += composedObjects)
          groups.push(await this.#compose(fresh(), sources.slice(at, at + composedObjects), undefined));
        sources = groups;
      }
      await this.#compose(name, sources, condition);
      return true;
    } finally {
      for (const at of made) await this.delete(at).catch(() => false);
    }
  }

  async #putPiece(name: string, bytes: Uint8Array): Promise<Composed> {
    await this.put(name, bytes, { absent: true });
    const info = await this.stat(name);
    if (!info) throw storeError("BLOB_CHANGED", { detail: name });
    return { name, tag: info.tag };
  }

  async #compose(name: string, sources: readonly Composed[], condition: PutCondition): Promise<Composed> {
    const sourceObjects = sources.map(({ name: source, tag }) => ({
      name: source,
      generation: tag,
      objectPreconditions: { ifGenerationMatch: tag },
    }));
    const body = utf8(
      JSON.stringify({ sourceObjects, destination: { name, contentType: "application/octet-stream" } }),
    );
    const headers = { "content-type": "application/json" };
    const path = `${this.#path(name)}/compose`;
    const answer = await this.#call({ method: "POST", path, query: conditionQuery(condition), headers, body });
    if (answer.status === 404) throw storeError("BLOB_CHANGED", { detail: `a piece of ${name} is gone` });
    // Where both could be meant, the caller has looked at the pieces.
    if (answer.status === 412 && !condition) throw storeError("BLOB_CHANGED", { detail: `a piece of ${name}` });
    if (answer.status !== 200) throw this.#refused(answer);
    return { name, tag: this.#read(answer, object).generation };
  }

  async delete(name: string): Promise<boolean> {
    const answer = await this.#call({ method: "DELETE", path: this.#path(name) });
    if (answer.status === 404) return answer.mayBeDone ?? false;
    if (answer.status !== 204 && answer.status !== 200) throw this.#refused(answer);
    return true;
  }

  async list(prefix: string, from: string | undefined) {
    const query = {
      prefix,
      maxResults: String(this.#ports.limits.pageNames),
      fields: "items(name),nextPageToken",
      ...(from === undefined ? {} : { pageToken: from }),
    };
    const path = `/storage/v1/b/${encodePart(this.#place.bucket)}/o`;
    const answer = await this.#call({ method: "GET", path, query });
    if (answer.status !== 200) throw this.#refused(answer);
    const { items, nextPageToken } = this.#read(answer, list);
    return { names: (items ?? []).map(({ name }) => name), next: nextPageToken || undefined };
  }

  async discardUnfinished(): Promise<void> {}

  /** Where the connection breaks the session is asked how far it came. */
  async #sendPart(session: string, part: { start: number; bytes: Uint8Array; isLast: boolean }): Promise<ObjectAnswer> {
    const { start, bytes, isLast } = part;
    const end = start + bytes.length;
    for (let attempt = 1; ; attempt++) {
      const headers = { "content-range": `bytes ${start}-${end - 1}/${isLast ? end : "*"}` };
      const answer = await this.#try({ method: "PUT", path: session, headers, body: bytes, once: true });
      if (answer && isTaken(answer, end, isLast)) return answer;
      if (answer && answer.status < 500 && answer.status !== 429 && answer.status !== 308) throw this.#refused(answer);
      const total = isLast ? end : "*";
      const state = await this.#call({
        method: "PUT",
        path: session,
        headers: { "content-range": `bytes */${total}` },
      });
      if (isTaken(state, end, isLast)) return state;
      if (attempt >= this.#ports.limits.attempts || reachedOf(state) !== start)
        throw storeError("BLOBS_UNREACHABLE", { detail: `${this.#place.uri}, an upload broke` });
    }
  }

  /** Undefined when the connection broke. */
  async #try(call: Call): Promise<ObjectAnswer | undefined> {
    try {
      return await this.#call(call);
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "BLOBS_UNREACHABLE") return undefined;
      throw error;
    }
  }

  #stored(answer: ObjectAnswer, name: string, sum: string): PutResult {
    if (answer.status !== 200 && answer.status !== 201) throw this.#refused(answer);
    return { confirmed: isConfirmed(this.#read(answer, object).md5Hash, sum, name) };
  }

  #call({ once, ...call }: Call): Promise<ObjectAnswer> {
    return this.#http.send(() => this.#make(call), once ? { once } : {});
  }

  async #make({ method, path, query = {}, headers, body }: Call): Promise<ObjectRequest> {
    const text = encodeQuery(query);
    const asked = text === "" ? path : `${path}?${text}`;
    const full = { method, path: asked, headers: { ...headers, ...(await this.#authorization()) } };
    return body === undefined ? full : { ...full, body };
  }

  async #authorization(): Promise<Record<string, string>> {
    if (this.#place.isEmulator) return {};
    const token = await this.#tokens.token(SCOPE);
    const authorization = `Bearer ${Buffer.from(token.buffer, token.byteOffset, token.length).toString("latin1")}`;
    wipe(token);
    return { authorization };
  }

  #path(name: string): string {
    return `/storage/v1/b/${encodePart(this.#place.bucket)}/o/${encodePart(name)}`;
  }

  #uploads(): string {
    return `/upload/storage/v1/b/${encodePart(this.#place.bucket)}/o`;
  }

  /** A session at another host would get our token there. */
  #sessionOf({ headers }: ObjectAnswer): string {
    const url = URL.parse(headers.location ?? "");
    if (!url || url.origin !== this.#http.origin)
      throw storeError("STORE_REDIRECTED", { detail: `${this.#place.uri}, an upload elsewhere` });
    return `${url.pathname}${url.search}`;
  }

  #read<T>(answer: ObjectAnswer, schema: z.ZodType<T>): T {
    const parsed = schema.safeParse(parse(answer.body, this.#place.uri));
    if (parsed.success) return parsed.data;
    const place = parsed.error.issues[0]?.path.join(".") ?? "";
    throw storeError("STORE_ANSWER_INVALID", { detail: `${this.#place.uri}, ${place}` });
  }

  #refused(answer: ObjectAnswer) {
    const text = Buffer.from(answer.body.subarray(0, 4_096)).toString("latin1");
    return refusal(answer, this.#place.uri, /"reason"\s*:\s*"([A-Za-z]{1,64})"/.exec(text)?.[1] ?? "");
  }
}

function conditionQuery(condition: PutCondition): Record<string, string> {
  if (!condition) return {};
  return { ifGenerationMatch: "absent" in condition ? ABSENT : condition.tag };
}

function isTaken(answer: ObjectAnswer, end: number, isLast: boolean): boolean {
  if (isLast) return answer.status === 200 || answer.status === 201 || answer.status === 412;
  return answer.status === 308 && reachedOf(answer) === end;
}

/** 308 is "resume incomplete" here; without a range nothing came. */
function reachedOf({ headers }: ObjectAnswer): number {
  const last = /^bytes=0-(\d{1,16})$/.exec(headers.range ?? "")?.[1];
  return last === undefined ? 0 : Number(last) + 1;
}

function parse(bytes: Uint8Array, where: string): unknown {
  try {
    return parseJson(bytes, { maxBytes: STORE_LIMITS.answerBytes, what: "answer" });
  } catch {
    throw storeError("STORE_ANSWER_INVALID", { detail: `${where}, it is not JSON` });
  }
}
