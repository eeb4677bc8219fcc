/** Connections to the providers: HTTP/1.1 by undici, the key spliced in, the address checked again when connected. */
import { buildConnector, type Dispatcher, Pool } from "undici";
import { growHttpParser, overwriteHttpParser, wipedReads } from "../backends/index.ts";
import { addressAllowed, checkBaseUrl, guardLookup, type LookupFunction } from "./address-guard.ts";
import { gatewayError } from "./errors.ts";
import { GATEWAY_INTERNALS, type GatewayLimits } from "./limits.ts";
import type { Provider } from "./providers.ts";
import { guardReplies } from "./reply-guard.ts";
import { ScratchPool, type SlotTable, spliceKeys } from "./splice.ts";

/** OpenSSL wipes its copy of what it decrypted: a provider may have sent a key back. Node names no constant for it. */
const SSL_OP_CLEANSE_PLAINTEXT = 1 << 1;

export interface UpstreamsOptions {
  readonly slots: SlotTable;
  readonly limits: GatewayLimits;
  /** Told when a provider sent a key back and it was masked; `origin` is the provider's. */
  readonly onEcho: (origin: string) => void;
  readonly lookup?: LookupFunction;
  /** Certificate authorities beside Node's own, PEM. */
  readonly ca?: string;
}

/** One pool per origin; a provider whose base URL changed gets another pool. */
export class Upstreams {
  readonly #options: UpstreamsOptions;
  readonly #pools = new Map<string, Pool>();
  /** With replies under way, and no further ones. */
  readonly #ending = new Set<Pool>();
  readonly #scratches = new ScratchPool();
  #cleaning: NodeJS.Timeout | undefined;

  constructor(options: UpstreamsOptions) {
    this.#options = options;
  }

  dispatch(provider: Provider, request: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    const { url } = checkBaseUrl(provider.baseUrl);
    const prefix = url.pathname.replace(/\/+$/, "");
    this.#pool(url.origin, provider.baseUrl).dispatch({ ...request, path: prefix + request.path }, handler);
  }

  /** Connections over which a key came back end with their replies, and the parser forgets what it read. */
  forget({ baseUrl }: Pick<Provider, "baseUrl">): void {
    this.#retire(checkBaseUrl(baseUrl).url.origin);
    this.clean();
  }

  /** Soon: what the parser of HTTP keeps of the last replies is overwritten, once for all who ask meanwhile. */
  clean(): void {
    this.#cleaning ??= setTimeout(() => {
      this.#cleaning = undefined;
      void overwriteHttpParser();
    }, GATEWAY_INTERNALS.parserCleanMilliseconds);
  }

  #retire(origin: string): void {
    const pool = this.#pools.get(origin);
    if (!pool) return;
    this.#pools.delete(origin);
    this.#ending.add(pool);
    void pool.close().finally(() => this.#ending.delete(pool));
  }

  #pool(origin: string, baseUrl: string): Pool {
    const known = this.#pools.get(origin);
    if (known) return known;
    const { limits } = this.#options;
    const pool = new Pool(origin, {
      connect: this.#connector(baseUrl),
      connections: GATEWAY_INTERNALS.providerConnections,
      pipelining: 1,
      allowH2: false,
      maxHeaderSize: limits.replyHeadBytes,
      headersTimeout: limits.replyHeadMilliseconds,
      bodyTimeout: limits.replyIdleMilliseconds,
    });
    this.#pools.set(origin, pool);
    return pool;
  }

  #connector(baseUrl: string): buildConnector.connector {
    const { slots, limits, lookup, ca } = this.#options;
    const { scope, url } = checkBaseUrl(baseUrl);
    const connect = buildConnector({
      allowH2: false,
      timeout: limits.connectMilliseconds,
      secureOptions: SSL_OP_CLEANSE_PLAINTEXT,
      onread: wipedReads(),
      lookup: guardLookup(scope, lookup),
      ...(ca === undefined ? {} : { ca }),
    } as buildConnector.BuildOptions);
    const grown = growHttpParser();
    const onEcho = () => {
      this.forget({ baseUrl });
      this.#options.onEcho(url.origin);
    };
    const open: buildConnector.connector = (options, callback) => {
      connect(options, (error, socket) => {
        if (error || !socket) return callback(error ?? gatewayError("UPSTREAM_UNREACHABLE"), null);
        if (!addressAllowed(socket.remoteAddress ?? "", scope)) {
          socket.destroy();
          return callback(gatewayError("UPSTREAM_ADDRESS_REFUSED"), null);
        }
        const guard = guardReplies(socket, { headBytes: limits.replyHeadBytes, onEcho });
        spliceKeys(socket, slots, this.#scratches, guard);
        socket.once("close", () => this.clean());
        callback(null, socket);
      });
    };
    return (options, callback) => void grown.then(() => open(options, callback));
  }

  async close(): Promise<void> {
    clearTimeout(this.#cleaning);
    await Promise.all([...this.#pools.values(), ...this.#ending].map((pool) => pool.destroy()));
    this.#pools.clear();
    this.#scratches.close();
  }
}
