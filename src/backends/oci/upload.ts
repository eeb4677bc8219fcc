/** One blob on its way to a registry, in chunks that follow each other; the registry checks the digest at the end. */
import { ModelkeepError } from "../../base/index.ts";
import { encodeQuery } from "../objects/answer.ts";
import { storeError } from "../objects/errors.ts";
import type { ObjectAnswer } from "../objects/http.ts";
import type { Registry, RegistryCall } from "./registry.ts";

export class BlobUpload {
  readonly #registry: Registry;
  #location: string;
  #sent = 0;

  private constructor(registry: Registry, location: string) {
    this.#registry = registry;
    this.#location = location;
  }

  static async begin(registry: Registry): Promise<BlobUpload> {
    const path = `/v2/${registry.place.repository}/blobs/uploads/`;
    const answer = await registry.call({ access: "push", method: "POST", path, headers: { "content-length": "0" } });
    if (answer.status !== 202) throw registry.refused(answer);
    return new BlobUpload(registry, locationOf(registry, answer));
  }

  /** Where the connection breaks the registry is asked how far it came, and the chunk is sent again or not. */
  async send(bytes: Uint8Array): Promise<void> {
    const start = this.#sent;
    const end = start + bytes.length;
    const { limits } = this.#registry.ports;
    for (let attempt = 1; ; attempt++) {
      const headers = { "content-type": "application/octet-stream", "content-range": `${start}-${end - 1}` };
      const request = { access: "push" as const, method: "PATCH" as const, path: this.#location, headers, body: bytes };
      const answer = await this.#try({ ...request, once: true });
      if (answer && (answer.status === 202 || answer.status === 201)) {
        if (answer.headers.location !== undefined) this.#location = locationOf(this.#registry, answer);
        break;
      }
      if (answer && answer.status < 500 && answer.status !== 416 && answer.status !== 429)
        throw this.#registry.refused(answer);
      const reached = await this.#reached();
      if (reached === end) break;
      if (attempt >= limits.attempts || reached !== start)
        throw storeError("BLOBS_UNREACHABLE", { detail: `${this.#registry.place.uri}, an upload broke` });
    }
    this.#sent = end;
  }

  /** With what is left of the blob; all of it for a small one. */
  async finish(rest: Uint8Array, digest: string): Promise<void> {
    const path = `${this.#location}${this.#location.includes("?") ? "&" : "?"}${encodeQuery({ digest })}`;
    const headers = { "content-type": "application/octet-stream" };
    const request = { access: "push" as const, method: "PUT" as const, path, headers, body: rest };
    const answer = await this.#try({ ...request, once: this.#sent > 0 });
    if (answer?.status === 201 || answer?.status === 204) return;
    if (answer && answer.status < 500 && answer.status !== 404) throw this.#registry.refused(answer);
    if (await this.#registry.hasBlob(digest)) return;
    throw answer
      ? this.#registry.refused(answer)
      : storeError("BLOBS_UNREACHABLE", { detail: `${this.#registry.place.uri}, an upload broke` });
  }

  /** Gives the upload up; never throws. */
  async abort(): Promise<void> {
    await this.#registry.call({ access: "push", method: "DELETE", path: this.#location }).catch(() => undefined);
  }

  /** Undefined when the connection broke. */
  async #try(request: RegistryCall): Promise<ObjectAnswer | undefined> {
    try {
      return await this.#registry.call(request);
    } catch (error) {
      if (error instanceof ModelkeepError && error.code === "BLOBS_UNREACHABLE") return undefined;
      throw error;
    }
  }

  async #reached(): Promise<number> {
    const answer = await this.#registry.call({ access: "push", method: "GET", path: this.#location });
    // Some registries forget an upload that came further than they could tell: it is to be sent from its start.
    if (answer.status === 404) return Number.NaN;
    if (answer.status !== 204) throw this.#registry.refused(answer);
    if (answer.headers.location !== undefined) this.#location = locationOf(this.#registry, answer);
    const last = /^(?:bytes=)?0-(\d{1,16})$/.exec(answer.headers.range ?? "")?.[1];
    // "0-0" is said of no byte and of one: an empty upload it is, since chunks are larger.
    return last === undefined || last === "0" ? 0 : Number(last) + 1;
  }
}

/** A registry that sends the upload to another host would get our credentials there: refused. */
function locationOf(registry: Registry, answer: ObjectAnswer): string {
  const { location } = answer.headers;
  if (!location)
    throw storeError("STORE_ANSWER_INVALID", { detail: `${registry.place.uri}, an upload without a place` });
  const url = URL.parse(location, registry.place.origin);
  if (!url || url.host !== new URL(registry.place.origin).host)
    throw storeError("STORE_REDIRECTED", { detail: `${registry.place.uri}, an upload elsewhere` });
  return `${url.pathname}${url.search}`;
}
