/** The stage of the leak test: a server of its own in a folder of its own, and a provider on loopback that tells all it hears. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { getPolicy, issueEnrolment, putSecret, revokeLeases, setPolicy, setProvider } from "../../contract/index.ts";
import { childProcess, files, http, processInfo, tempDirectory } from "../../host/index.ts";
import { type Connection, connect, enrol } from "../../sdk/index.ts";
import type { CommandContext } from "../command.ts";
import { sealForServer } from "../commands/secret-input.ts";
import { cliError } from "../errors.ts";

/** Time for the server to start and to stop, in milliseconds. */
const START_MS = 60_000;

export interface Stage {
  readonly folder: string;
  readonly pid: number;
  /** A workload that may use the provider's model. */
  readonly workload: Connection;
  readonly admin: Connection;
  /** Requests that came to the provider with the key as it was put. */
  arrived(): number;
  /** All that the server has written to its streams. */
  said(): string;
  /** Ends the gateway's leases. */
  checkIn(): Promise<void>;
  /** Makes the server write a heap snapshot, and returns its path. */
  snapshot(): Promise<string>;
  end(): Promise<void>;
}

export const MODEL = "leak-test-control";
export const SLOW_MODEL = "leak-test-slow";
/** Characters of a reply that come before the rest; the key is in the rest. */
const FIRST_PIECE = 20;
const SECRET = "leak-test/key";
const POLICY = `\n@id("leak-test")\npermit (principal, action == Action::"useModel", resource);\n`;

export async function openStage(context: CommandContext, key: string): Promise<Stage> {
  const folder = await files.mkdtemp(join(tempDirectory(), "modelkeep-leak-test-"));
  const provider = await startProvider(key);
  const server = startServer(folder);
  const end = async (): Promise<void> => {
    provider.server.closeAllConnections();
    provider.server.close();
    server.child.kill("SIGTERM");
    await server.ended;
    await files.rm(folder, { recursive: true, force: true });
  };
  try {
    const serverUrl = await server.ready;
    const code = (await files.readFile(join(folder, "code"), "utf8")).trim();
    const admin = await enrolAt(context, serverUrl, code);
    const workload = await prepare(context, admin, serverUrl, provider.url, key);
    return {
      folder,
      pid: server.child.pid ?? 0,
      admin,
      workload,
      arrived: () => provider.arrived(),
      said: () => server.said(),
      async checkIn() {
        await admin.api.call(revokeLeases, { body: { principal: { type: "Server", id: "gateway" } } });
      },
      snapshot: () => snapshotOf(server.child, folder),
      end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

async function enrolAt(context: CommandContext, serverUrl: string, code: string): Promise<Connection> {
  const { signal } = context;
  return connect({ credentials: await enrol({ serverUrl, code, signal }), signal });
}

async function prepare(
  context: CommandContext,
  { api }: Connection,
  serverUrl: string,
  baseUrl: string,
  key: string,
): Promise<Connection> {
  const sealed = await sealForServer(api, SECRET, Buffer.from(key, "latin1"));
  await api.call(putSecret, { params: { name: SECRET }, body: { sealed } });
  const provider = { base_url: baseUrl, secret: SECRET, models: [MODEL, SLOW_MODEL] };
  await api.call(setProvider, { params: { name: "leak-test" }, body: { kind: "openai", ...provider } });
  const { text, version } = await api.call(getPolicy, {});
  await api.call(setPolicy, { body: { text: text + POLICY, if_version: version } });
  const { code } = await api.call(issueEnrolment, { body: { workload: "leak-test", groups: [] } });
  return enrolAt(context, serverUrl, code);
}

/** WebAssembly else reserves gigabytes of addresses, which gdb writes into a core file as zeros. */
export const SMALL_CORE_FLAGS = ["--disable-wasm-trap-handler", "--wasm-max-mem-pages=1024"];

/** Its debug log is on: all that it could say is said. */
function startServer(folder: string) {
  const program = fileURLToPath(new URL("../../../bin/modelkeep.mjs", import.meta.url));
  const flags = ["--heapsnapshot-signal=SIGUSR2", `--diagnostic-dir=${folder}`, ...SMALL_CORE_FLAGS];
  const words = ["serve", "--json", "--listen", "127.0.0.1:0", "--log-level", "debug"];
  const { env, execPath } = processInfo();
  const child = childProcess.spawn(
    execPath,
    [...flags, program, ...words, "--bootstrap-code-file", join(folder, "code")],
    { cwd: folder, env: ownEnvironment(env, folder), stdio: ["ignore", "pipe", "pipe"] },
  );
  let said = "";
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const ready = new Promise<string>((resolve, reject) => {
    const fail = (): void => reject(cliError("LEAK_TEST_FAILED", { detail: "the server did not start" }));
    const timer = setTimeout(fail, START_MS);
    child.once("error", fail);
    child.once("close", fail);
    const hear = (chunk: Buffer): void => {
      said += chunk.toString("latin1");
      const url = /"ready":true,"url":"([^"]+)"/.exec(said)?.[1];
      if (url === undefined) return;
      clearTimeout(timer);
      resolve(url);
    };
    child.stdout.on("data", hear);
    child.stderr.on("data", hear);
  });
  return { child, ready, ended, said: () => said };
}

/** Nothing of this user's configuration, and nothing of the store that a running server may have. */
function ownEnvironment(env: Readonly<Record<string, string | undefined>>, folder: string) {
  const kept = Object.entries(env).filter(([name]) => !/^(MODELKEEP_(?!MEMORY)|XDG_)|^NODE_OPTIONS$/.test(name));
  const [config, data] = [join(folder, "config"), join(folder, "data")];
  return { ...Object.fromEntries(kept), HOME: folder, XDG_CONFIG_HOME: config, XDG_DATA_HOME: data };
}

async function snapshotOf(child: childProcess.ChildProcess, folder: string): Promise<string> {
  const snapshots = async () => (await files.readdir(folder)).filter((name) => name.endsWith(".heapsnapshot"));
  const before = new Set(await snapshots());
  child.kill("SIGUSR2");
  let last = -1;
  for (let waited = 0; waited < START_MS; waited += 200) {
    await new Promise((resolve) => setTimeout(resolve, 200));
    const name = (await snapshots()).find((one) => !before.has(one));
    if (name === undefined) continue;
    const { size } = await files.stat(join(folder, name));
    if (size > 0 && size === last) return join(folder, name);
    last = size;
  }
  throw cliError("LEAK_TEST_FAILED", { detail: "the server wrote no heap snapshot" });
}

/** Sends the key back as providers do in their errors: plain and encoded, in headers and in bodies. */
async function startProvider(key: string) {
  let arrived = 0;
  const server = http.createServer((req, res) => {
    const chunks: Buffer[] = [];
    req.on("data", (chunk: Buffer) => chunks.push(chunk));
    req.on("end", () => {
      if (req.headers.authorization === `Bearer ${key}`) arrived++;
      if (Buffer.concat(chunks).includes(SLOW_MODEL)) answerSlowly(res);
      else answer(res, key, arrived);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : 0;
  return { server, url: `http://127.0.0.1:${port}/v1`, arrived: () => arrived };
}

function answer(res: http.ServerResponse, key: string, round: number): void {
  const told = [key, Buffer.from(key).toString("base64"), encodeURIComponent(key), "", ""][round % 5] ?? "";
  const status = [200, 200, 400, 500, 401][round % 5] ?? 200;
  res.writeHead(status, { "content-type": "application/json", "x-request-id": `r-${told}` });
  const text = JSON.stringify({ choices: [{ message: { content: `key ${told}` } }], error: { message: told } });
  res.write(text.slice(0, FIRST_PIECE));
  setTimeout(() => res.end(text.slice(FIRST_PIECE)), 5);
}

function answerSlowly(res: http.ServerResponse): void {
  res.writeHead(200, { "content-type": "text/event-stream" });
  const timer = setInterval(() => res.write('data: {"choices":[]}\n\n'), 50);
  res.on("close", () => clearInterval(timer));
}
