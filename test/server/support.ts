/** A whole server on loopback with a store of its own, and an administrator who is logged in. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Connection, connect, enrol } from "../../src/sdk/index.ts";
import { type Config, loadConfig } from "../../src/server/config.ts";
import { type RunningServer, startServer } from "../../src/server/server.ts";

export interface TestServer {
  readonly folder: string;
  readonly server: RunningServer;
  /** Lines of the server's log. */
  readonly lines: string[];
  /** What the server said to the person at its terminal. */
  readonly said: string[];
  readonly admin: Connection;
  /** A workload of its own, enrolled by the administrator. */
  workload(name: string, groups?: string[]): Promise<Connection>;
  stop(): Promise<void>;
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "modelkeep-server-"));
}

export async function configOf(folder: string, flags: Partial<Config> = {}): Promise<Config> {
  const env = { HOME: folder, XDG_CONFIG_HOME: join(folder, "config"), XDG_DATA_HOME: join(folder, "data") };
  const { config } = await loadConfig({ env, flags: { listen: "127.0.0.1:0", log_level: "debug", ...flags } });
  return config;
}

export async function startTestServer(
  options: { readonly flags?: Partial<Config>; readonly fetch?: typeof fetch; readonly serverUrl?: string } = {},
): Promise<TestServer> {
  const folder = newFolder();
  const config = await configOf(folder, options.flags);
  const [lines, said]: [string[], string[]] = [[], []];
  const codeFile = join(folder, "code");
  const server = await startServer({
    config,
    version: "0.0.0-test",
    writeLog: (line) => void lines.push(line),
    talk: (text) => void said.push(text),
    bootstrapCodeFile: codeFile,
  });
  const serverUrl = options.serverUrl ?? server.url;
  const ports = options.fetch ? { fetch: options.fetch } : {};
  const enrolAs = async (code: string) =>
    connect({ ...ports, credentials: await enrol({ ...ports, serverUrl, code }) });
  const admin = await enrolAs(readFileSync(codeFile, "utf8").trim());
  return {
    folder,
    server,
    lines,
    said,
    admin,
    async workload(name, groups = []) {
      const { issueEnrolment } = await import("../../src/contract/index.ts");
      const { code } = await admin.api.call(issueEnrolment, { body: { workload: name, groups } });
      return enrolAs(code);
    },
    async stop() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export function fileUri(...parts: string[]): string {
  return pathToFileURL(join(...parts)).href;
}
