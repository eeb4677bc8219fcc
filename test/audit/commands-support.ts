/** The server's audit and policy routes without a socket, and the command line that speaks to them. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Hono } from "hono";
import { type AuditLog, openAuditLog } from "../../src/audit/index.ts";
import { type Caller, silentLog } from "../../src/base/index.ts";
import { auditCheckpoint, auditExport, auditList, auditVerify } from "../../src/cli/commands/audit.ts";
import { policyCheck, policyExplain, policySet, policyShow, policyTest } from "../../src/cli/commands/policy.ts";
import { runCommandLine } from "../../src/cli/run.ts";
import { type ApiClient, createApiClient } from "../../src/contract/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createApp } from "../../src/server/app.ts";
import { Metrics } from "../../src/server/metrics.ts";
import { createPolicyService } from "../../src/server/policy-service.ts";
import { auditRoutes } from "../../src/server/routes/audit.ts";
import { policyRoutes } from "../../src/server/routes/policy.ts";
import type { RecordStore } from "../../src/store/index.ts";
import { ORIGIN, openTestStore, temporaryFolder } from "./support.ts";

export const admin: Caller = {
  principal: { type: "Admin", id: "ada" },
  groups: ["admins"],
  tokenId: "t",
  expiresAt: 0,
  keyThumbprint: "k",
};
const commands = [
  auditList,
  auditCheckpoint,
  auditExport,
  auditVerify,
  policyCheck,
  policyTest,
  policyExplain,
  policyShow,
  policySet,
];
const SERVER = "http://127.0.0.1:8420";

export interface Ran {
  readonly exit: number;
  readonly out: string;
  readonly err: string;
}

export interface House {
  readonly log: AuditLog;
  readonly store: RecordStore;
  readonly path: string;
  readonly folder: string;
  readonly api: ApiClient;
  caller: Caller;
  run(...words: string[]): Promise<Ran>;
  read(name: string): string;
}

/** `folder` keeps what the command line remembers: give the same to two houses and they are one server to it. */
export async function openHouse(t: TestContext, folder = temporaryFolder(t)): Promise<House> {
  mkdirSync(join(folder, "config"), { recursive: true });
  const { store, path } = await openTestStore(t);
  const ports = { store, clock: systemClock, random: systemRandom, log: silentLog };
  const log = await openAuditLog({ ...ports, origin: ORIGIN });
  const policy = await createPolicyService({ ...ports, recorder: log });
  t.after(() => policy.close());
  const services = { audit: log, policy, recorder: log, authorizer: () => policy.authorizer() };
  const app = createApp({
    implementations: [...auditRoutes(services), ...policyRoutes(services)],
    oauth: new Hono(),
    authenticate: async () => house.caller,
    async ready() {},
    origins: () => new Set([SERVER]),
    scheme: "http",
    metrics: new Metrics(),
    clock: systemClock,
    log: silentLog,
    version: "0",
  });
  const api = createApiClient({
    serverUrl: SERVER,
    fetch: async (url, init) =>
      app.request(String(url), { ...init, headers: { host: "127.0.0.1:8420", ...(init?.headers as object) } }),
  });
  const house: House = {
    log,
    store,
    path,
    folder,
    api,
    caller: admin,
    run: (...words) => runWords(words, folder, api),
    read: (name) => readFileSync(join(folder, name), "utf8"),
  };
  return house;
}

async function runWords(words: readonly string[], folder: string, api: ApiClient): Promise<Ran> {
  let [out, err] = ["", ""];
  const exit = await runCommandLine(words, {
    commands,
    version: "0",
    stdin: (async function* () {})(),
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    env: { HOME: folder, XDG_CONFIG_HOME: join(folder, "config") },
    cwd: folder,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    signal: new AbortController().signal,
    connect: async () => api,
  });
  return { exit, out, err };
}
