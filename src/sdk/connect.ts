/** What an application or the command line connects with: enrol once, then a client that proves every request. */
import { type Clock, type Fetch, type Log, type Random, silentLog } from "../base/index.ts";
import { type ApiClient, createApiClient } from "../contract/index.ts";
import { systemClock, systemFetch, systemRandom } from "../host/index.ts";
import { createTokenSession, type PrivateJwk, ProofKey, requestToken, type TokenSession } from "../tokens/index.ts";
import { type Agent, startAgent } from "./agent.ts";
import { type CheckedOut, type CheckOutOptions, checkOut } from "./check-out.ts";

/** What is kept between two starts; the key is a secret. */
export interface Credentials {
  readonly serverUrl: string;
  /** As `Type::"id"`. */
  readonly principal: string;
  readonly privateJwk: PrivateJwk;
}

export interface SdkPorts {
  readonly fetch?: Fetch;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly log?: Log;
  readonly signal?: AbortSignal;
}

export interface Connection {
  /** The routes of the contract. */
  readonly api: ApiClient;
  /** Like fetch, for this server only, with token and proof: for `/v1` by an OpenAI client with its own `fetch` option. */
  readonly fetch: Fetch;
  readonly session: TokenSession;
  /** `await using key = await keep.checkOut("openai/prod")`: a secret of the server, if policy lets you have it. */
  checkOut(name: string, options?: CheckOutOptions): Promise<CheckedOut>;
  /** A proxy on loopback for programs that know nothing of tokens. */
  startAgent(): Promise<Agent>;
}

/** Makes a key and enrols it with the one-time code. Fails with ENROLMENT_REFUSED or UNREACHABLE. */
export async function enrol(
  options: SdkPorts & { readonly serverUrl: string; readonly code: string },
): Promise<Credentials> {
  const { key, privateJwk } = await ProofKey.generate();
  const { principal } = await requestToken({ ...withDefaults(options), ...options, key });
  return { serverUrl: options.serverUrl.replace(/\/+$/, ""), principal, privateJwk };
}

/** Sends nothing yet; the first request renews the token. */
export async function connect(options: SdkPorts & { readonly credentials: Credentials }): Promise<Connection> {
  const { serverUrl, privateJwk } = options.credentials;
  const ports = withDefaults(options);
  const key = await ProofKey.import(privateJwk);
  const session = createTokenSession({ ...ports, serverUrl, key });
  const prove = session.prove.bind(session);
  const api = createApiClient({ ...ports, serverUrl, fetch: session.sendProven, prove });
  return {
    api,
    fetch: session.fetch,
    session,
    checkOut: (name, wanted) => checkOut({ ...ports, api }, name, wanted),
    startAgent: () => startAgent({ session, random: ports.random, log: ports.log }),
  };
}

function withDefaults({ signal, ...ports }: SdkPorts) {
  return {
    fetch: ports.fetch ?? systemFetch,
    clock: ports.clock ?? systemClock,
    random: ports.random ?? systemRandom,
    log: ports.log ?? silentLog,
    ...(signal ? { signal } : {}),
  };
}
