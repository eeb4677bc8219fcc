/** A repository of an OCI registry: blobs by digest, manifests by tag or digest, and who refers to them (distribution 1.1). */
import { createHash } from "node:crypto";
import { baseError } from "../../base/index.ts";
import { isLoopback } from "../http-service.ts";
import { refusal } from "../objects/answer.ts";
import { storeError } from "../objects/errors.ts";
import { type ObjectAnswer, ObjectHttp, type ObjectRequest } from "../objects/http.ts";
import { authoritiesOf } from "../objects/origin.ts";
import { type FullStorePorts, fullStorePorts, type StorePorts } from "../objects/ports.ts";
import { type Access, RegistryAuth } from "./auth.ts";
import { type OciPlace, parseOciUri } from "./place.ts";
import { BlobUpload } from "./upload.ts";

export interface FoundManifest {
  readonly digest: string;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface RegistryCall {
  readonly access: Access;
  readonly method: ObjectRequest["method"];
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly maxBytes?: number;
  readonly once?: boolean;
}

export const OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
export const OCI_INDEX = "application/vnd.oci.image.index.v1+json";

export async function openRegistry(uri: string, given: StorePorts): Promise<Registry> {
  const ports = fullStorePorts(given);
  const ca = await authoritiesOf(ports.env.SSL_CERT_FILE);
  return new Registry(parseOciUri(uri), ports, ca);
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

export class Registry {
  readonly place: OciPlace;
  readonly ports: FullStorePorts;
  readonly #ca: Uint8Array | undefined;
  readonly #http: ObjectHttp;
  readonly #auth: RegistryAuth;
  /** Where downloads were redirected to. */
  readonly #others = new Map<string, ObjectHttp>();

  constructor(place: OciPlace, ports: FullStorePorts, ca: Uint8Array | undefined) {
    this.place = place;
    this.ports = ports;
    this.#ca = ca;
    this.#http = new ObjectHttp(place.origin, ports, ca);
    this.#auth = new RegistryAuth(place, ports, ca);
  }

  async hasBlob(digest: string): Promise<boolean> {
    const answer = await this.call({ access: "pull", method: "HEAD", path: this.path("blobs", digest) });
    if (answer.status === 404) return false;
    if (answer.status === 200 || (answer.status >= 300 && answer.status < 400)) return true;
    throw this.refused(answer);
  }

  /** How many bytes there were; undefined when there is no such blob. */
  async readBlob(digest: string, range: { start: number; end: number }, into: Uint8Array) {
    for (let attempt = 0; ; attempt++) {
      const make = async (start: number): Promise<ObjectRequest> => ({
        method: "GET",
        path: this.path("blobs", digest),
        headers: { ...(await this.#auth.headers("pull")), range: `bytes=${start}-${range.end - 1}` },
      });
      const redirected = (location: URL, request: ObjectRequest) => this.#elsewhere(location, request);
      const outcome = await this.#http.download({ ...range, make, check: () => undefined, redirected }, into);
      if ("bytes" in outcome) return outcome.bytes;
      const { answer } = outcome;
      if (answer.status === 404) return undefined;
      if (answer.status !== 401 || attempt > 0) throw this.refused(answer);
      await this.#auth.answer("pull", answer.headers["www-authenticate"]);
    }
  }

  /** What is under a digest has that digest; what is under a tag tells it. */
  async manifest(reference: string, accept: string): Promise<FoundManifest | undefined> {
    const path = this.path("manifests", reference);
    const maxBytes = this.ports.limits.manifestBytes;
    const answer = await this.call({ access: "pull", method: "GET", path, headers: { accept }, maxBytes });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw this.refused(answer);
    const digest = digestOf(answer.body);
    const said = answer.headers["docker-content-digest"];
    if ((reference.includes(":") && digest !== reference) || (said?.startsWith("sha256:") && said !== digest))
      throw storeError("BLOB_DAMAGED", { detail: `${this.place.uri}, the manifest ${reference}` });
    return { digest, mediaType: mediaTypeOf(answer), bytes: answer.body };
  }

  /** True when the registry keeps the list of referrers itself. */
  async putManifest(reference: string, bytes: Uint8Array, mediaType: string): Promise<boolean> {
    const path = this.path("manifests", reference);
    const headers = { "content-type": mediaType };
    const answer = await this.call({ access: "push", method: "PUT", path, headers, body: bytes });
    if (answer.status !== 201) throw this.refused(answer);
    const said = answer.headers["docker-content-digest"];
    if (said?.startsWith("sha256:") && said !== digestOf(bytes))
      throw storeError("BLOB_DAMAGED", { detail: `${this.place.uri}, the manifest ${reference}` });
    return answer.headers["oci-subject"] !== undefined;
  }

  /** The pages of the index of manifests whose subject is that digest; undefined where the registry has no such list. */
  async referrers(digest: string): Promise<Uint8Array[] | undefined> {
    const { manifestBytes: maxBytes, referrerPages } = this.ports.limits;
    const first = this.path("referrers", digest);
    const pages: Uint8Array[] = [];
    for (let path: string | undefined = first; path !== undefined; ) {
      if (pages.length === referrerPages)
        throw baseError("LIMIT_EXCEEDED", { detail: `${this.place.uri}, over ${referrerPages} pages of referrers` });
      const request = { access: "pull" as const, method: "GET" as const, path, headers: { accept: OCI_INDEX } };
      const answer: ObjectAnswer = await this.call({ ...request, maxBytes });
      const isList = answer.status === 200 && mediaTypeOf(answer) === OCI_INDEX;
      if (!isList && pages.length === 0 && [200, 400, 404, 405].includes(answer.status)) return undefined;
      if (!isList) throw this.refused(answer);
      pages.push(answer.body);
      path = this.#nextPage(answer, first);
    }
    return pages;
  }

  /** A link that leads elsewhere would get our token there, or show another list. */
  #nextPage({ headers }: ObjectAnswer, first: string): string | undefined {
    const [, link] = /<([^<>]{1,4096})>\s*;\s*rel="?next"?/i.exec(headers.link ?? "") ?? [];
    if (link === undefined) return undefined;
    const url = URL.parse(link, this.place.origin + first);
    if (url?.origin === this.#http.origin && url.pathname === first) return `${url.pathname}${url.search}`;
    throw storeError("STORE_ANSWER_INVALID", { detail: `${this.place.uri}, a list that goes on elsewhere` });
  }

  /** False where the registry deletes nothing, or does not let us. */
  async remove(kind: "manifests" | "blobs", digest: string): Promise<boolean> {
    const answer = await this.call({ access: "push", method: "DELETE", path: this.path(kind, digest) });
    if (answer.status === 202 || answer.status === 200 || answer.status === 204 || answer.status === 404) return true;
    if ([400, 401, 403, 405, 501].includes(answer.status)) return false;
    throw this.refused(answer);
  }

  /** A small blob in one go; nothing is sent when it is there. */
  async putBlob(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes);
    if (await this.hasBlob(digest)) return digest;
    const upload = await BlobUpload.begin(this);
    await upload.finish(bytes, digest);
    return digest;
  }

  /** With the login that the registry asks for. */
  async call({ access, maxBytes, once, ...request }: RegistryCall): Promise<ObjectAnswer> {
    for (let attempt = 0; ; attempt++) {
      const make = async () => ({
        ...request,
        headers: { ...request.headers, ...(await this.#auth.headers(access)) },
      });
      const options = { ...(maxBytes === undefined ? {} : { maxBytes }), ...(once ? { once } : {}) };
      const answer = await this.#http.send(make, options);
      if (answer.status !== 401 || attempt > 0) return answer;
      await this.#auth.answer(access, answer.headers["www-authenticate"]);
    }
  }

  path(kind: "blobs" | "manifests" | "referrers", reference: string): string {
    return `/v2/${this.place.repository}/${kind}/${reference}`;
  }

  refused(answer: ObjectAnswer) {
    const text = Buffer.from(answer.body.subarray(0, 4_096)).toString("latin1");
    const code = /"code"\s*:\s*"([A-Z_]{1,64})"/.exec(text)?.[1] ?? "";
    if (code === "DIGEST_INVALID" || code === "SIZE_INVALID")
      return storeError("BLOB_DAMAGED", { detail: `${this.place.uri}, ${code}` });
    return refusal(answer, this.place.uri, code);
  }

  /** Where a registry keeps its blobs: it gets no credentials of ours, and the digest or the seal tells what it sends. */
  #elsewhere(url: URL, { headers }: ObjectRequest) {
    const local = url.protocol === "http:" && isLoopback(url.hostname) && this.place.origin.startsWith("http:");
    if (url.protocol !== "https:" && !local) return undefined;
    const http = this.#others.get(url.origin) ?? new ObjectHttp(url.origin, this.ports, this.#ca);
    this.#keep(url.origin, http);
    const range = headers.range;
    const kept = range === undefined ? {} : { range };
    return { http, request: { method: "GET" as const, path: `${url.pathname}${url.search}`, headers: kept } };
  }

  /** The hosts that were asked last. */
  #keep(origin: string, http: ObjectHttp): void {
    this.#others.delete(origin);
    this.#others.set(origin, http);
    const [oldest] = this.#others;
    if (!oldest || this.#others.size <= this.ports.limits.redirectHosts) return;
    this.#others.delete(oldest[0]);
    oldest[1].close();
  }
}

function mediaTypeOf({ headers }: ObjectAnswer): string {
  return (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
}
