/** A real Debian as an image: what dpkg-query lists in it, from an OCI layout, a docker archive, and one packed as a whole. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { createBom, type JsonObject, packagesOf } from "../../src/bom/index.ts";
import { debianFolder, debianRoot } from "../../tools/peers/bom-places.ts";
import { temporaryFolder } from "./support.ts";
import { ociLayout } from "./tar-support.ts";

const ABSENT = existsSync(join(debianFolder, "installed"))
  ? undefined
  : "no Debian: apt-get install debootstrap, then node tools/bootstrap.mjs peers bom, as root";
const hasSkopeo = spawnSync("skopeo", ["--version"]).status === 0;
let layout = "";
let archive = "";

before(() => {
  if (ABSENT) return;
  const words = ["--sort=name", "--numeric-owner", "--exclude=./dev/*", "-C", debianRoot, "-c", "."];
  const layer = execFileSync("tar", words, { maxBuffer: 2 ** 30 });
  layout = ociLayout([layer], { pack: (bytes) => gzipSync(bytes, { level: 1 }) });
  archive = join(temporaryFolder(), "image.tar");
  if (!hasSkopeo) return;
  execFileSync("skopeo", ["copy", "--quiet", "--insecure-policy", `oci:${layout}`, `docker-archive:${archive}:app:1`]);
  execFileSync("gzip", ["--fast", "--keep", archive]);
});

/** Name, version, architecture and source, as dpkg has them of what is installed. */
function asDpkgSays(): string[] {
  const format = "${db:Status-Status} ${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}\n";
  const admin = `--admindir=${join(debianRoot, "var/lib/dpkg")}`;
  const out = execFileSync("dpkg-query", [admin, "-W", "-f", format], { encoding: "utf8" });
  const lines = out.trim().split("\n");
  return lines.flatMap((line) => (line.startsWith("installed ") ? [line.slice("installed ".length)] : [])).sort();
}

function asWeSay(bom: JsonObject): string[] {
  const found = packagesOf(bom).filter(({ ecosystem }) => ecosystem === "Debian:12");
  return found
    .map(({ name, version, purl = "", source }) => {
      const arch = new URL(purl).searchParams.get("arch");
      return [name, version, arch, source?.name ?? name, source?.version ?? version].join(" ");
    })
    .sort();
}

test("OCI layout: nothing missing, nothing twice", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  const expected = asDpkgSays();
  assert.ok(expected.length > 50);
  assert.equal(new Set(expected).size, expected.length);
  const bom = await createBom({ root: layout, kind: "image" });
  assert.deepEqual(asWeSay(bom), expected);
  t.diagnostic(`${expected.length} packages`);
});

test("docker archive, also packed with gzip: the same, and nothing stays in the folder for temporary files", async (t) => {
  if (ABSENT) return t.skip(ABSENT);
  if (!hasSkopeo) return t.skip("no skopeo: apt-get install skopeo");
  const expected = asDpkgSays();
  const before = readdirSync(tmpdir()).filter((name) => name.startsWith("modelkeep-image-"));
  for (const root of [archive, `${archive}.gz`]) assert.deepEqual(asWeSay(await createBom({ root })), expected, root);
  const after = readdirSync(tmpdir()).filter((name) => name.startsWith("modelkeep-image-"));
  assert.deepEqual(
    after.filter((name) => !before.includes(name)),
    [],
  );
});
