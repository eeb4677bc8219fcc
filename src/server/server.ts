/** The composition root: opens what the configuration names, builds every module from its ports, and listens. */

import type { Anchors } from "../attestation/index.ts";
import { openAuditLog } from "../audit/index.ts";
import { type KeyWrapper, openKeyWrapper } from "../backends/index.ts";
import type { Clock, Log, Random } from "../base/index.ts";
import { createGateway, createProviderService } from "../gateway/index.ts";
import { systemClock, systemRandom, writeNewFile } from "../host/index.ts";
import { createSecretService } from "../secrets/index.ts";
import { openRootKey, openStore, type RecordStore } from "../store/index.ts";
import { createTokenService, type TokenService } from "../tokens/index.ts";
import { type ApiServices, apiRoutes } from "./api.ts";
import { createApp } from "./app.ts";
import type { Config } from "./config.ts";
import { createServerIdentity } from "./identity.ts";
import { openKeepers } from "./keepers.ts";
import { type Listening, listen } from "./listen.ts";
import { createLog, type FindSecrets } from "./log.ts";
import { sayMemory } from "./memory.ts";
import { Metrics } from "./metrics.ts";
import { requestOrigin } from "./origins.ts";
import { createPolicyService } from "./policy-service.ts";
import { oauthApp } from "./routes/oauth.ts";
import { openSignerCheck } from "./signers.ts";

export interface ServerOptions {
  readonly config: Config;
  readonly version: string;
  readonly writeLog: (line: string) => void;
  /** Says something to the person at the terminal. */
  readonly talk: (text: string) => void;
  /** Gets the first administrator's one-time code in place of the terminal; must not exist yet. */
  readonly bootstrapCodeFile?: string;
  /** Other pins than the TEE vendors', for tests with roots of their own; no configuration can set them. */
  readonly anchors?: Anchors;
}

export interface RunningServer {
  readonly url: string;
  /** Ends gracefully: no new requests, running ones may finish, keys are wiped, the store is closed. */
  close(): Promise<void>;
}

interface Ports {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly store: RecordStore;
}

export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { config } = options;
  let findSecrets: FindSecrets = () => [];
  const log = createLog({ level: config.log_level, write: options.writeLog, findSecrets: (line) => findSecrets(line) });
  const wrappers = await openWrappers(config.kms);
  const ports: Ports = { clock: systemClock, random: systemRandom, log, store: await openConfiguredStore(config, log) };
  const ends: (() => Promise<void> | void)[] = [() => ports.store.close()];
  const closeAll = async () => {
    for (const end of ends.splice(0).reverse()) await end();
  };
  try {
    const services = await openServices(config, ports, ends);
    findSecrets = (line) => services.secrets.findHeld(line);
    const listening = await openDoors(options, ports, services, wrappers, ends);
    await announceBootstrap(options, services.tokens, listening.url);
    log.info("listening", { url: listening.url, version: options.version });
    return { url: listening.url, close: closeAll };
  } catch (error) {
    await closeAll();
    throw error;
  }
}

async function openConfiguredStore(config: Config, log: Log): Promise<RecordStore> {
  const rootKey = await openRootKey(config.root_key, systemRandom);
  try {
    return await openStore({ url: config.store, rootKey, clock: systemClock, random: systemRandom, log });
  } finally {
    rootKey.wipe();
  }
}

function openWrappers(uris: readonly string[]): Promise<KeyWrapper[]> {
  return Promise.all(uris.map((uri) => openKeyWrapper(uri, { random: systemRandom })));
}

async function openServices(config: Config, ports: Ports, ends: (() => Promise<void> | void)[]): Promise<ApiServices> {
  const opened = <T extends { close(): Promise<void> | void }>(service: T): T => {
    ends.push(() => service.close());
    return service;
  };
  const audit = opened(await openAuditLog({ ...ports, origin: "modelkeep" }));
  const recording = { ...ports, recorder: audit };
  const identity = createServerIdentity({ ...ports, publicUrl: config.public_url });
  const drivers = await openKeepers({ ...recording, config, identity });
  return {
    identity,
    audit,
    tokens: opened(await createTokenService(recording)),
    policy: opened(await createPolicyService(recording)),
    secrets: opened(await createSecretService({ ...recording, drivers })),
    providers: opened(await createProviderService(recording)),
  };
}

/** Everything that answers a request: the API, the gateway, and the port they share. */
async function openDoors(
  options: ServerOptions,
  ports: Ports,
  services: ApiServices,
  wrappers: readonly KeyWrapper[],
  ends: (() => Promise<void> | void)[],
): Promise<Listening> {
  const { audit, tokens, policy, secrets, providers } = services;
  const { config } = options;
  let listening: Listening | undefined;
  const origins = () => listening?.origins ?? new Set<string>();
  const scheme = config.tls_certificate === undefined ? "http" : "https";
  const authorizer = () => policy.authorizer();
  const recording = { ...ports, authorizer, recorder: audit };
  const metrics = new Metrics();
  sayMemory(metrics, ports.log);
  const gateway = createGateway({
    ...recording,
    providers,
    secrets,
    authenticate: (request) => tokens.authenticate(request),
    originOf: (req) => requestOrigin(req.headers.host ?? "", scheme, origins()),
  });
  ends.push(() => gateway.close());
  metrics.addSource(() => gateway.counters());
  const signers = await openSignerCheck({ ...recording, config, metrics });
  ends.push(() => signers?.close());
  const tryCandidate = (secretName: string) => gateway.tryCandidate(secretName);
  const app = createApp({
    implementations: await apiRoutes({
      ...options,
      ...recording,
      ...services,
      tryCandidate,
      wrappers,
      signers,
      metrics,
      onClose: (end) => void ends.push(end),
    }),
    oauth: oauthApp({ tokens, urlOf: (url, host) => requestOrigin(host, scheme, origins()) + new URL(url).pathname }),
    authenticate: (request) => tokens.authenticate(request),
    ready: () => ports.store.ping(),
    origins,
    scheme,
    metrics,
    clock: ports.clock,
    log: ports.log,
    version: options.version,
  });
  const opened = await listen(config, { app, gateway: (req, res) => gateway.handle(req, res) });
  ends.push(() => opened.close(config.shutdown_seconds * 1000));
  listening = opened;
  return opened;
}

async function announceBootstrap(
  { bootstrapCodeFile, talk }: ServerOptions,
  tokens: TokenService,
  url: string,
): Promise<void> {
  const bootstrap = await tokens.bootstrap();
  if (!bootstrap) return;
  if (bootstrapCodeFile !== undefined) {
    await writeNewFile(bootstrapCodeFile, `${bootstrap.code}\n`, { mode: 0o600 });
    return;
  }
  talk(
    `There is no administrator yet. One-time code: ${bootstrap.code}\nType it into: modelkeep login --server ${url}`,
  );
}
