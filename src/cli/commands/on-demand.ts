/** Loads the modules of the one command that a line names: all of them together take as long again to start. */
import type { Command } from "../command.ts";

type Load = () => Promise<object>;

const advisories: readonly Load[] = [() => import("./advisories.ts"), () => import("./advisories-server.ts")];
const attest: readonly Load[] = [
  () => import("./attest.ts"),
  () => import("./attest-collect.ts"),
  () => import("./attest-reference.ts"),
  () => import("./attest-server.ts"),
];
const bom: readonly Load[] = [
  () => import("./bom.ts"),
  () => import("./bom-match.ts"),
  () => import("./bom-documents.ts"),
];
const login: readonly Load[] = [() => import("./login.ts")];
const secret: readonly Load[] = [
  () => import("./secret.ts"),
  () => import("./secret-import.ts"),
  () => import("./secret-versions.ts"),
];
const sealing: readonly Load[] = [() => import("./sealing.ts")];
const serving: readonly Load[] = [() => import("./serve.ts")];
const signing: readonly Load[] = [() => import("./signing.ts")];
const stores: readonly Load[] = [() => import("./stores.ts")];

/** By first word. What is missing here is found in the whole table, only later. */
const MODULES: ReadonlyMap<string, readonly Load[]> = new Map([
  ["advisories", advisories],
  ["agent", [() => import("./agent.ts")]],
  ["attest", attest],
  ["audit", [() => import("./audit.ts")]],
  ["bom", bom],
  ["checkout", [() => import("./checkout.ts")]],
  ["collateral", [() => import("./collateral.ts")]],
  ["config", serving],
  ["conformance", [() => import("./conformance.ts")]],
  ["doctor", [() => import("./doctor.ts")]],
  ["identity", [() => import("./identity.ts")]],
  ["inspect", [() => import("./sealing-inspect.ts")]],
  ["kms", sealing],
  ["lease", [() => import("./lease.ts")]],
  ["login", login],
  ["logout", login],
  ["model", [() => import("./model.ts")]],
  ["open", sealing],
  ["policy", [() => import("./policy.ts")]],
  ["provider", [() => import("./provider.ts")]],
  ["publish", [() => import("./publish.ts")]],
  ["pull", stores],
  ["push", stores],
  ["recipients", [() => import("./recipients.ts")]],
  ["rewrap", sealing],
  ["run", [() => import("./run.ts")]],
  ["scan", [() => import("./scan.ts")]],
  ["seal", sealing],
  ["secret", secret],
  ["serve", serving],
  ["shred", sealing],
  ["sign", signing],
  ["token", [() => import("./token.ts")]],
  ["verify", signing],
  ["whoami", login],
]);

const VERSION: ReadonlySet<string | undefined> = new Set(["--version", "-V", "version"]);

/** The command that the line begins with, alone; every command where it begins with none, or asks for help. */
export async function commandsFor(words: readonly string[]): Promise<readonly Command[]> {
  if (VERSION.has(words[0])) return [];
  const loads = MODULES.get(words[0] ?? "") ?? [];
  const modules = await Promise.all(loads.map((load) => load()));
  const found = modules.flatMap((module) => Object.values(module)).filter((value) => isCommand(value));
  const names = new Set([1, 2, 3].map((count) => words.slice(0, count).join(" ")));
  const command = found.filter(({ name }) => names.has(name)).sort((a, b) => b.name.length - a.name.length)[0];
  return command ? [command] : (await import("./index.ts")).commands;
}

function isCommand(value: unknown): value is Command {
  return typeof value === "object" && value !== null && "name" in value && "run" in value && "about" in value;
}
