/** Where the programs and the environment lie that bills of materials are held against. */
import { join } from "node:path";
import { root } from "../checks/source.ts";
import { binaryOf, peersFolder } from "./places.ts";

/** Validators of CSAF, CycloneDX and SPDX, pip-audit, uv. */
export const bomToolsRequirements = [
  "csaf-vex==0.1.0b5",
  "cyclonedx-python-lib[json-validation]==11.12.0",
  "pip-audit==2.10.1",
  "spdx-python-model==0.0.6",
  "uv==0.13.9",
] as const;
export const bomToolsFolder = join(peersFolder, "bom-tools");

/** Old on purpose, so that there is something to find. */
export const bomEnvironmentRequirements = [
  "transformers==4.48.0",
  "requests==2.31.0",
  "jinja2==3.1.3",
  "tqdm==4.66.2",
  "urllib3==2.2.1",
  "mlflow-skinny==2.14.0",
  "aiohttp==3.9.3",
  "fickling==0.1.3",
  "pillow==10.2.0",
  "onnx==1.16.0",
] as const;
export const bomEnvironmentFolder = join(peersFolder, "bom-environment");

/** The JSON Schema of SPDX 3.0.1 lies in this package; only that file is kept. */
export const spdxSchemaPackage = "@cyclonedx/cdxgen@12.8.4";
export const spdxSchemaFile = join(peersFolder, "spdx-3.0.1.schema.json");

/** So does that of SARIF 2.1.0 in this one. */
export const sarifSchemaPackage = "@microsoft/jest-sarif@1.0.0-beta.0";
export const sarifSchemaFile = join(peersFolder, "sarif-2.1.0.schema.json");

/** Prints what a JSON document has that its schema does not allow. */
export const schemaScript = join(root, "tools", "peers", "python", "json_schema.py");

export function bomTool(name: string): string {
  return join(bomToolsFolder, "bin", name);
}

export function bomEnvironmentPython(): string {
  return join(bomEnvironmentFolder, "bin", "python");
}

/** Compares versions as Go's own module and a port of Alpine's apk do. */
export const versionsSource = join(root, "tools", "peers", "versions");

export function versionsBinary(): string {
  return binaryOf("versions", versionsSource, ["main.go", "go.mod"]);
}

/** Compares versions as cargo's own crate does. */
export const crateVersionsSource = join(root, "tools", "peers", "semver-crate");

export function crateVersionsBinary(): string {
  return binaryOf("semver-crate", crateVersionsSource, ["src/main.rs", "Cargo.lock"]);
}

/** A minimal Debian, as debootstrap makes it; only root can. */
export const debianFolder = join(peersFolder, "debian-image");
export const debianRoot = join(debianFolder, "root");
export const debianSuite = "bookworm";

/** Debian's package libmaven3-core-java. */
export const mavenArtifactJars = [
  "/usr/share/java/maven-artifact-3.x.jar",
  "/usr/share/java/commons-lang3.jar",
] as const;
