/** Folders of made-up models, the CycloneDX schema, and an index of advisories for the tests of bills of materials. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Ajv } from "ajv";
import addFormats from "ajv-formats";

const VECTORS = process.env.MODELKEEP_VECTORS ?? join(import.meta.dirname, "../../../shared/vectors");
export const osv = join(VECTORS, "osv");
export const ABSENT = "no vectors: set MODELKEEP_VECTORS to the folder with osv/";
export const keeper = join(import.meta.dirname, "../../examples/model/keeper");

const made: string[] = [];
process.on("exit", () => {
  for (const folder of made) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-bom-test-"));
  made.push(folder);
  return folder;
}

export function writeFolder(files: Readonly<Record<string, string | Uint8Array>>): string {
  const root = temporaryFolder();
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

/** Validates against the schema of its version that the CycloneDX library carries; returns what is wrong. */
export function schemaErrors(document: unknown): readonly unknown[] {
  const version = String((document as { specVersion?: unknown }).specVersion);
  const validate = validators.get(version) ?? compile(version);
  validators.set(version, validate);
  return validate(document) ? [] : (validate.errors ?? ["no reason"]);
}

const validators = new Map<string, ReturnType<Ajv["compile"]>>();

function compile(version: string) {
  const home = dirname(createRequire(import.meta.url).resolve("@cyclonedx/cyclonedx-library/package.json"));
  const schema = (name: string): object =>
    JSON.parse(readFileSync(join(home, "res/schema", `${name}.SNAPSHOT.schema.json`), "utf8")) as object;
  const ajv = new Ajv({ strict: false, allErrors: true });
  addFormats.default(ajv);
  ajv.addFormat("iri-reference", /^\S*$/);
  ajv.addFormat("idn-email", /^\S+@\S+$/);
  for (const name of ["spdx", "jsf-0.82", "cryptography-defs"]) {
    ajv.addSchema(schema(name), `http://cyclonedx.org/schema/${name}.SNAPSHOT.schema.json`);
  }
  return ajv.compile(schema(`bom-${version}`));
}

/** An OSV record with what a test needs. */
export function record(id: string, name: string, affected: object, more: object = {}): string {
  const ecosystem = "ecosystem" in more ? more.ecosystem : "PyPI";
  return JSON.stringify({ id, affected: [{ package: { ecosystem, name }, ...affected }], ...more });
}

export function range(...events: readonly Record<string, string>[]): object {
  return { ranges: [{ type: "ECOSYSTEM", events }] };
}
