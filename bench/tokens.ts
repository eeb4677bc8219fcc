/** What a token costs: checks and exchanges a second on one core, and the time from a revocation to its refusal elsewhere. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silentLog } from "../src/base/index.ts";
import { GuardedBytes, systemClock, systemRandom } from "../src/host/index.ts";
import { openStore, type RecordStore } from "../src/store/index.ts";
import { createTokenService, ProofKey, type TokenService } from "../src/tokens/index.ts";
import { KeptEvents, MemoryStore } from "../test/secrets/support.ts";
import { ADA, codeForm, renewalForm, SERVER, TOKEN_URL } from "../test/tokens/support.ts";

const URL_CHAT = `${SERVER}/v1/chat/completions`;
const ports = { clock: systemClock, random: systemRandom };
const CHECKS = 10_000;
const EXCHANGES = 3_000;
const HOLDERS = 16;
const REVOCATIONS = 100;
/** Each of these waits half a second. */
const LOST_REVOCATIONS = 20;

interface Holder {
  readonly key: ProofKey;
  readonly accessToken: string;
  readonly tokenId: string;
}

function serviceOver(store: RecordStore): Promise<TokenService> {
  const recorder = new KeptEvents();
  setInterval(() => recorder.events.splice(0), 100).unref();
  return createTokenService({ ...ports, store, recorder, log: silentLog });
}

async function enrolHolder(tokens: TokenService, id: string): Promise<Holder> {
  const { code } = await tokens.enrol({ principal: { type: "Workload", id }, groups: [], by: ADA });
  const { key } = await ProofKey.generate();
  const dpop = await key.prove({ method: "POST", url: TOKEN_URL }, ports);
  return { key, ...(await tokens.exchange({ form: codeForm(code), dpop, url: TOKEN_URL })) };
}

async function proofFor({ key, accessToken }: Holder) {
  const dpop = await key.prove({ method: "POST", url: URL_CHAT, accessToken }, ports);
  return { authorization: `DPoP ${accessToken}`, dpop, method: "POST", url: URL_CHAT };
}

/** Proofs are made before the clock runs: they are the client's cost. */
async function measure<T>(what: string, prepared: readonly T[], work: (one: T) => Promise<unknown>) {
  const before = process.cpuUsage();
  const started = performance.now();
  for (const one of prepared) await work(one);
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  return {
    what,
    "each second": Math.round(prepared.length / seconds),
    "CPU us each": ((user + system) / prepared.length).toFixed(1),
    "p50 ms": "",
    "p99 ms": "",
  };
}

async function measureChecks(tokens: TokenService, count: number, what: string) {
  const holder = await enrolHolder(tokens, "checked");
  const requests = await Promise.all(Array.from({ length: count }, () => proofFor(holder)));
  return measure(what, requests, (request) => tokens.authenticate(request));
}

async function measureExchanges(tokens: TokenService, count: number, what: string) {
  const holders = await Promise.all(Array.from({ length: HOLDERS }, (_, n) => enrolHolder(tokens, `renews-${n}`)));
  const requests = await Promise.all(
    Array.from({ length: count }, async (_, n) => {
      const { key } = holders[n % HOLDERS] ?? (await enrolHolder(tokens, "one-more"));
      const form = renewalForm(await key.assert(SERVER, ports));
      return { form, dpop: await key.prove({ method: "POST", url: TOKEN_URL }, ports), url: TOKEN_URL };
    }),
  );
  return measure(what, requests, (request) => tokens.exchange(request));
}

async function measureRevocations(here: TokenService, there: TokenService, count: number, what: string) {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const holder = await enrolHolder(here, `revoked-${n}`);
    await there.authenticate(await proofFor(holder));
    const revoked = here.revoke({ tokenId: holder.tokenId }, { by: ADA });
    const started = performance.now();
    for (let refused = false; !refused; ) {
      const request = await proofFor(holder);
      refused = await there.authenticate(request).then(
        () => false,
        () => true,
      );
    }
    times.push(performance.now() - started);
    await revoked;
  }
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor(times.length * part)] ?? Number.NaN).toFixed(2);
  return { what, "each second": "", "CPU us each": "", "p50 ms": at(0.5), "p99 ms": at(0.99) };
}

/** Over memory the cost is ours alone; over SQLite a commit waits for the disk. */
export async function run(): Promise<readonly Record<string, unknown>[]> {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bench-"));
  const rootKey = GuardedBytes.take(systemRandom.bytes(32));
  const store = await openStore({ ...ports, url: `sqlite:${join(folder, "records.db")}`, rootKey, log: silentLog });
  const [memory, sqlite, replica] = [
    await serviceOver(new MemoryStore()),
    await serviceOver(store),
    await serviceOver(store),
  ];
  const lost = new Proxy(store, {
    get: (target, name) => {
      const value = name === "notify" ? async () => {} : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const rows = [
    await measureChecks(memory, CHECKS / 10, "warm up"),
    await measureChecks(memory, CHECKS, "authenticate, token in memory"),
    await measureExchanges(memory, EXCHANGES, "exchange, store in memory"),
    await measureExchanges(sqlite, EXCHANGES / 3, "exchange, SQLite, one after the other"),
    await measureRevocations(sqlite, replica, REVOCATIONS, "revoked, refused by another replica"),
    await measureRevocations(await serviceOver(lost), replica, LOST_REVOCATIONS, "the same when every message is lost"),
  ];
  await store.close();
  rmSync(folder, { recursive: true, force: true });
  return rows.slice(1);
}
