/** The process that is scanned: a gateway over the real store, driven by messages of the test. */
import * as http from "node:http";
import { join } from "node:path";
import { writeHeapSnapshot } from "node:v8";
import { createGateway, createProviderService } from "../../src/gateway/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import { createSecretService, openServerReceiver, type SealedValue } from "../../src/secrets/index.ts";
import { openRootKey, openStore } from "../../src/store/index.ts";
import { KeptEvents } from "../secrets/support.ts";
import { allowAllBut, authenticateTest, by, KeptLog, listen, MODELS } from "./support.ts";

const folder = process.argv[2] ?? "";
const log = new KeptLog();
const recorder = new KeptEvents();
const rootKey = await openRootKey(`file://${join(folder, "root.key")}`, systemRandom);
const ports = { clock: systemClock, random: systemRandom, log, recorder };
const store = await openStore({ url: `sqlite:${join(folder, "store.db")}`, rootKey, ...ports });
const secrets = await createSecretService({ store, ...ports });
const transport = await openServerReceiver({ store });
const providers = await createProviderService({ store, ...ports });
const policy = allowAllBut("secret-model");
let gateway: ReturnType<typeof createGateway> | undefined;
let kept: unknown;

async function start(message: { baseUrl: string; ca?: string; sealed: SealedValue }): Promise<unknown> {
  const value = await transport.open(message.sealed, { direction: "put", name: "openai-key" });
  await secrets.put("openai-key", value, { by });
  const { baseUrl, ca } = message;
  await providers.set({ name: "test", kind: "openai", baseUrl, secret: "openai-key", models: MODELS }, { by });
  const started = createGateway({
    ...ports,
    providers,
    secrets,
    authorizer: () => policy,
    authenticate: authenticateTest,
    ...(ca ? { ca } : {}),
  });
  gateway = started;
  return { port: await listen(http.createServer((req, res) => started.handle(req, res))) };
}

async function answer(message: { do: string } & Record<string, unknown>): Promise<unknown> {
  if (message.do === "start") return start(message as unknown as Parameters<typeof start>[0]);
  if (message.do === "checkin") {
    gateway?.checkInIdleKeys();
    await new Promise((resolve) => setTimeout(resolve, 100));
    return { leases: (await secrets.listLeases()).length };
  }
  if (message.do === "snapshot") return { path: writeHeapSnapshot(join(folder, String(message.name))) };
  if (message.do === "said")
    return { text: `${log.lines.join("\n")}${JSON.stringify([recorder.events, gateway?.counters()])}` };
  // The control: a key as everybody else holds it.
  if (message.do === "hold") kept = { authorization: `Bearer ${Buffer.from(String(message.hex), "hex").toString()}` };
  return { kept: kept !== undefined };
}

process.on("message", (message: { id: number; do: string }) => {
  answer(message as { id: number; do: string } & Record<string, unknown>).then(
    (reply) => process.send?.({ id: message.id, reply }),
    (error) => process.send?.({ id: message.id, error: String(error?.stack ?? error) }),
  );
});
process.send?.({ id: 0, reply: transport.key });
