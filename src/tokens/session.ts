/** Keeps one token alive: renews it before it ends, once for everybody who waits, and proves each request. */
import { baseError, EXIT, type Fetch, ModelkeepError } from "../base/index.ts";
import { type ReceivedToken, requestToken, type TokenRequest } from "./client.ts";
import { SESSION_LIMITS } from "./limits.ts";

export interface ProofHeaders {
  readonly authorization: string;
  readonly dpop: string;
  readonly [name: string]: string;
}

export interface TokenSession {
  readonly serverUrl: string;
  /** The headers that prove one request to this server; renews when it is time. INVALID_INPUT for another origin. */
  prove(method: string, url: string): Promise<ProofHeaders>;
  /** Forgets the token of these headers, after the server has refused it. */
  refused(headers: Pick<ProofHeaders, "authorization">): void;
  /** Like fetch, with a proof in every request; asks once more after a 401 when the body can be sent again. */
  readonly fetch: Fetch;
  /** The same for requests that carry the headers of `prove` already. */
  readonly sendProven: Fetch;
}

export type TokenSessionOptions = Omit<TokenRequest, "code"> & {
  /** The token that came with the enrolment. */
  readonly first?: ReceivedToken;
};

export function createTokenSession(options: TokenSessionOptions): TokenSession {
  return new RenewingSession(options);
}

class RenewingSession implements TokenSession {
  readonly serverUrl: string;
  readonly #options: TokenSessionOptions;
  #current: ReceivedToken | undefined;
  #renewing: Promise<ReceivedToken> | undefined;

  constructor(options: TokenSessionOptions) {
    this.#options = options;
    this.#current = options.first;
    this.serverUrl = options.serverUrl.replace(/\/+$/, "");
  }

  async prove(method: string, url: string): Promise<ProofHeaders> {
    if (URL.parse(url)?.origin !== new URL(this.serverUrl).origin) {
      throw baseError("INVALID_INPUT", { detail: `the token is for ${this.serverUrl} and goes nowhere else` });
    }
    const { accessToken } = await this.#token();
    const dpop = await this.#options.key.prove({ method, url, accessToken }, this.#options);
    return { authorization: `DPoP ${accessToken}`, dpop };
  }

  refused(headers: Pick<ProofHeaders, "authorization">): void {
    if (headers.authorization === `DPoP ${this.#current?.accessToken}`) this.#current = undefined;
  }

  readonly fetch: Fetch = async (input, init = {}) => {
    const proof = await this.prove(methodOf(input, init), urlOf(input));
    return this.sendProven(input, withProof(input, init, proof));
  };

  readonly sendProven: Fetch = async (input, init = {}) => {
    const response = await this.#options.fetch(input, init);
    const authorization = new Headers(init.headers).get("authorization") ?? "";
    if (response.status !== 401 || !authorization.startsWith("DPoP ")) return response;
    this.refused({ authorization });
    if (input instanceof Request || init.body instanceof ReadableStream) return response;
    const proof = await this.prove(methodOf(input, init), urlOf(input)).catch(() => undefined);
    if (!proof) return response;
    await response.body?.cancel();
    return this.#options.fetch(input, withProof(input, init, proof));
  };

  async #token(): Promise<ReceivedToken> {
    const now = this.#options.clock.monotonic();
    const current = this.#current;
    if (current && now < renewAt(current)) return current;
    this.#renewing ??= this.#renew();
    try {
      return await this.#renewing;
    } catch (error) {
      if (current && now < current.endsAt && isUnreachable(error)) return current;
      throw error;
    }
  }

  async #renew(): Promise<ReceivedToken> {
    try {
      this.#current = await requestToken(this.#options);
      return this.#current;
    } finally {
      this.#renewing = undefined;
    }
  }
}

function methodOf(input: Parameters<Fetch>[0], init: RequestInit): string {
  return init.method ?? (input instanceof Request ? input.method : "GET");
}

function urlOf(input: Parameters<Fetch>[0]): string {
  return input instanceof Request ? input.url : String(input);
}

/** A redirect would take the token to where the proof does not fit. */
function withProof(input: Parameters<Fetch>[0], init: RequestInit, proof: ProofHeaders): RequestInit {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  for (const [name, value] of Object.entries(proof)) headers.set(name, value);
  return { ...init, headers, redirect: "error" };
}

function renewAt({ receivedAt, endsAt }: ReceivedToken): number {
  return receivedAt + (endsAt - receivedAt) * SESSION_LIMITS.renewAfterPart;
}

function isUnreachable(error: unknown): boolean {
  return error instanceof ModelkeepError && error.exit === EXIT.unreachable;
}
