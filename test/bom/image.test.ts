/** Container images: layers as they lie upon each other, links inside the root, and archives that want to do harm. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { createBom, packagesOf, readImage } from "../../src/bom/index.ts";
import { startRegistry } from "../artifact/store-peers.ts";
import { schemaErrors, temporaryFolder } from "./support.ts";
import { type LayoutOptions, type Member, ociLayout, sha256, tarOf } from "./tar-support.ts";

const STATUS = "var/lib/dpkg/status";

function stanza(name: string, version: string, more = ""): string {
  return `Package: ${name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n${more}\n`;
}

async function treeOf(layers: readonly (readonly Member[])[], options: LayoutOptions = {}) {
  return (await readImage({ path: ociLayout(layers.map(tarOf), options) })).tree;
}

async function textIn(layers: readonly (readonly Member[])[], path = STATUS): Promise<string | undefined> {
  const bytes = await (await treeOf(layers)).read(path);
  return bytes && Buffer.from(bytes).toString("utf8");
}

const file = (name: string, data = "x"): Member => ({ name, data });
const link = (name: string, target: string): Member => ({ name, target, type: "2" });
const hard = (name: string, target: string): Member => ({ name, target, type: "1" });
const folder = (name: string): Member => ({ name, type: "5" });

test("upper layers replace, whiteouts remove, opaque folders hide", async () => {
  assert.equal(await textIn([[file(STATUS, "old")], [file(`./${STATUS}`, "new")]]), "new");
  assert.equal(await textIn([[file(STATUS)], [file("var/lib/dpkg/.wh.status", "")]]), undefined);
  assert.equal(await textIn([[file(STATUS)], [file("var/.wh.lib", "")]]), undefined);
  assert.equal(await textIn([[file(STATUS)], [file("var/lib/.wh..wh..opq", "")]]), undefined);
  assert.equal(await textIn([[file(STATUS)], [file("var/.wh.lib", ""), file(STATUS, "new")]]), "new");
  assert.equal(
    await textIn([[file(STATUS)], [file(STATUS, "new"), file("var/.wh.lib", "")]]),
    "new",
    "a whiteout is about lower layers",
  );
  assert.equal(await textIn([[file(STATUS)], [file(STATUS, "new"), file("var/lib/dpkg/.wh..wh..opq", "")]]), "new");
  assert.equal(
    await textIn([[file(STATUS)], [folder("var/lib/dpkg")]]),
    "x",
    "a folder that is there again keeps what is in it",
  );
  assert.equal(await textIn([[file(STATUS)], [file("var/lib", "now a file")]]), undefined);
  const hidden = [[file("opt/site-packages/a-1.dist-info/METADATA")], [file("opt/b"), file("opt/.wh..wh..opq", "")]];
  assert.deepEqual((await treeOf(hidden)).paths, []);
});

test("links: hard ones are the file, symbolic ones stay inside the root", async () => {
  assert.equal(
    await textIn([[file("usr/kept", "moved"), hard(STATUS, "usr/kept")]]),
    "moved",
    "the target has to be read in a second round",
  );
  assert.equal(
    await textIn([[file("usr/kept", "moved"), hard(STATUS, "./usr/kept")], [file("usr/.wh.kept", "")]]),
    "moved",
  );
  assert.equal(await textIn([[file("data/status", "far"), link("var/lib/dpkg", "../../data")]]), "far");
  assert.equal(await textIn([[link("var", "/real"), file("real/lib/dpkg/status", "below")]]), "below");
  assert.equal(await textIn([[link("var", "real"), file(STATUS, "through")]], "real/lib/dpkg/status"), "through");
  assert.equal(await textIn([[link(STATUS, "../../../etc/elsewhere"), file("etc/elsewhere", "else")]]), "else");
  assert.equal(await textIn([[link("a", "b"), link("b", "a"), link("var", "a"), file(STATUS)]]), undefined);
  assert.equal(
    await textIn([[link("var", "../../../../../etc"), file(STATUS, "root")]], "etc/lib/dpkg/status"),
    "root",
    ".. ends at the root",
  );
  assert.equal(
    await textIn([[file("../var/lib/dpkg/status", "out"), file("/etc/os-release", "in")]], "etc/os-release"),
    "in",
  );
  assert.equal(await textIn([[hard(STATUS, "nowhere")]]), undefined);
});

test("long names, pax paths, other compressions", async () => {
  const long = `usr/lib/${"d".repeat(120)}/site-packages/a-1.dist-info/METADATA`;
  const pax = (key: string, value: string) => {
    const record = ` ${key}=${value}\n`;
    let length = record.length;
    while (`${length}${record}`.length !== length) length = `${length}${record}`.length;
    return { name: "pax", type: "x", data: `${length}${record}` };
  };
  assert.deepEqual((await treeOf([[{ name: "././@LongLink", type: "L", data: `${long}\0` }, file("cut")]])).paths, [
    long,
  ]);
  assert.deepEqual((await treeOf([[pax("path", long), file("cut"), file("etc/os-release")]])).paths, [
    "etc/os-release",
    long,
  ]);
  const plain = [tarOf([file(STATUS, "packed")])];
  for (const pack of [
    (layer: Buffer) => layer,
    (layer: Buffer) => zstdCompressSync(layer),
    (layer: Buffer) => Buffer.concat([gzipSync(layer.subarray(0, 700)), gzipSync(layer.subarray(700))]),
  ]) {
    const { tree } = await readImage({ path: ociLayout(plain, { pack }) });
    assert.equal(Buffer.from((await tree.read(STATUS)) ?? []).toString(), "packed");
  }
});

test("what is not what its digest says is refused", async () => {
  const layers = [tarOf([file(STATUS)])];
  await assert.rejects(readImage({ path: ociLayout(layers, { diffIds: [`sha256:${"0".repeat(64)}`] }) }), {
    code: "IMAGE_INVALID",
  });
  const root = ociLayout(layers);
  for (const name of readdirSync(join(root, "blobs/sha256"))) {
    const path = join(root, "blobs/sha256", name);
    const whole = readFileSync(path);
    const damaged = Buffer.from(whole);
    damaged[damaged.length - 3] = (damaged.at(-3) ?? 0) ^ 1;
    writeFileSync(path, damaged);
    await assert.rejects(readImage({ path: root }), { code: "IMAGE_INVALID" }, name);
    writeFileSync(path, whole);
  }
  assert.ok(await readImage({ path: root }));
});

test("bombs and broken archives end in an error, in bounded time and memory", async () => {
  const bad: [string, Buffer][] = [
    ["cut", tarOf([file(STATUS, "x".repeat(2000))]).subarray(0, 1024)],
    ["checksum", Buffer.from(tarOf([file(STATUS)]).map((byte, at) => (at === 3 ? byte ^ 1 : byte)))],
    ["negative size", tarOf([{ name: "a", size: "-0000000001\0" }])],
    ["huge size", tarOf([{ name: "a", size: "\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" }])],
    ["database too long", tarOf([{ name: STATUS, size: "77777777777\0" }])],
    ["no tar", Buffer.from("x".repeat(5000))],
    ["long pax", tarOf([{ name: "p", type: "x", data: "x".repeat(2 * 2 ** 20) }])],
    ["pax record", tarOf([{ name: "p", type: "x", data: "99999 path=x\n" }, file("a")])],
  ];
  for (const [what, layer] of bad)
    await assert.rejects(readImage({ path: ociLayout([layer]) }), { code: "IMAGE_INVALID" }, what);
  await assert.rejects(
    readImage({ path: ociLayout([Buffer.from("x")], { pack: () => Buffer.from([0x1f, 0x8b, 8, 0, 1, 2, 3, 4]) }) }),
    { code: "IMAGE_INVALID" },
  );
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const zeros = gzipSync(Buffer.alloc(64 * 2 ** 20), { level: 9 });
  const header = tarOf([{ name: "zeros", size: `${(2 ** 33 - 1).toString(8)}\0` }]).subarray(0, 512);
  const bomb = Buffer.concat([gzipSync(header), ...Array.from({ length: 40 }, () => zeros)]);
  await assert.rejects(readImage({ path: ociLayout([Buffer.alloc(0)], { pack: () => bomb }) }), {
    code: "IMAGE_INVALID",
  });
  assert.ok(performance.now() - started < 15_000, `${performance.now() - started} ms`);
  assert.ok(process.memoryUsage.rss() - before < 400 * 2 ** 20);
});

test("a hostile number of whiteouts and links stays quick", async () => {
  const many = Array.from({ length: 20_000 }, (_, at) => link(`usr/bin/l${at}`, "l0"));
  const opaque = Array.from({ length: 5_000 }, () => file("usr/bin/.wh..wh..opq", ""));
  const started = performance.now();
  await treeOf([
    many,
    [...many, ...opaque, ...Array.from({ length: 20_000 }, (_, at) => file(`usr/bin/.wh.l${at}`, ""))],
  ]);
  assert.ok(performance.now() - started < 10_000, `${performance.now() - started} ms`);
});

test("archives of any bytes are read or refused", async () => {
  const whole = tarOf([file(STATUS, stanza("a", "1")), link("b", "a"), hard("c", "b"), folder("d")]);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat({ max: whole.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 4 }),
      async (changes) => {
        const damaged = Buffer.from(whole);
        for (const [at, byte] of changes) damaged[at] = byte;
        try {
          await readImage({ path: ociLayout([damaged], { pack: (layer) => layer }) });
        } catch (error) {
          assert.equal((error as { code?: unknown }).code, "IMAGE_INVALID");
        }
      },
    ),
    { numRuns: 150 },
  );
});

const ALPINE =
  "P:busybox\nV:1.36.1-r15\nA:x86_64\nL:GPL-2.0-only\no:busybox\nD:so:libc.musl-x86_64.so.1\n\nP:ssl_client\nV:1.36.1-r15\nA:x86_64\no:busybox\nL:GPL-2.0-only\nD:busybox so:libssl.so.3\n";

test("a document of an image: packages of the distribution under their source, schema-valid", async () => {
  const layers = [
    [
      file("etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'),
      file(
        STATUS,
        stanza("libssl3", "3.0.11-1~deb12u1", "Source: openssl\nDepends: libc6 (>= 2.34), debconf | other\n") +
          stanza("libc6", "2.36-9+deb12u3", "Source: glibc (2.36-9)\n") +
          "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n",
      ),
    ],
    [
      file(
        "usr/lib/python3/dist-packages/torch-2.6.0.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\n\nText\n",
      ),
    ],
  ];
  const bom = await createBom({ root: ociLayout(layers.map(tarOf)), name: "image" });
  assert.deepEqual(schemaErrors(bom), []);
  const packages = packagesOf(bom).map(({ ecosystem, name, version, source }) => [
    ecosystem,
    name,
    version,
    source?.name,
    source?.version,
  ]);
  assert.deepEqual(packages, [
    ["Debian:12", "libc6", "2.36-9+deb12u3", "glibc", "2.36-9"],
    ["Debian:12", "libssl3", "3.0.11-1~deb12u1", "openssl", "3.0.11-1~deb12u1"],
    ["PyPI", "torch", "2.6.0", undefined, undefined],
  ]);
  assert.match(
    JSON.stringify(bom.dependencies),
    /"pkg:deb\/debian\/libssl3@[^"]*","dependsOn":\["pkg:deb\/debian\/libc6@/,
  );
  const alpine = await createBom({
    root: ociLayout([
      tarOf([file("lib/apk/db/installed", ALPINE), file("etc/os-release", "ID=alpine\nVERSION_ID=3.19.1\n")]),
    ]),
    name: "alpine",
  });
  assert.deepEqual(schemaErrors(alpine), []);
  assert.deepEqual(
    packagesOf(alpine).map(({ ecosystem, name, source }) => [ecosystem, name, source?.name]),
    [
      ["Alpine:v3.19", "busybox", undefined],
      ["Alpine:v3.19", "ssl_client", "busybox"],
    ],
  );
});

test("docker's archive, made by skopeo from ours, has the same packages", async (t) => {
  if (spawnSync("skopeo", ["--version"]).status !== 0) return t.skip("no skopeo: apt-get install skopeo");
  const layout = ociLayout([
    tarOf([file("etc/os-release", "ID=debian\nVERSION_ID=12\n"), file(STATUS, stanza("a", "1"))]),
    tarOf([file(STATUS, stanza("b", "2"))]),
  ]);
  const archive = join(temporaryFolder(), "image.tar");
  for (const [form, more] of [
    ["docker-archive", ":x/y:1"],
    ["oci-archive", ""],
  ] as const) {
    const path = form === "oci-archive" ? archive.replace(".tar", ".oci") : archive;
    const made = spawnSync("skopeo", ["copy", "--insecure-policy", `oci:${layout}`, `${form}:${path}${more}`], {
      encoding: "utf8",
    });
    assert.equal(made.status, 0, made.stderr);
    const bom = await createBom({ root: path });
    assert.deepEqual(
      packagesOf(bom).map(({ name }) => name),
      ["b"],
      form,
    );
    assert.ok(existsSync(path));
  }
});

test("an index of several platforms; a layout without one", async () => {
  const layout = ociLayout([tarOf([file(STATUS, stanza("a", "1"))])]);
  const index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
  const [own] = index.manifests;
  const attestation = {
    ...own,
    digest: `sha256:${"0".repeat(64)}`,
    annotations: { "vnd.docker.reference.type": "attestation-manifest" },
  };
  const arm = { ...own, digest: `sha256:${"1".repeat(64)}`, platform: { os: "linux", architecture: "arm64" } };
  writeFileSync(
    join(layout, "index.json"),
    JSON.stringify({ manifests: [attestation, arm, { ...own, platform: { os: "linux", architecture: "amd64" } }] }),
  );
  assert.equal((await readImage({ path: layout })).digest, own.digest.slice(7));
  await assert.rejects(readImage({ path: layout, platform: "linux/s390x" }), { code: "IMAGE_INVALID" });
  await assert.rejects(readImage({ path: layout, platform: "linux/arm64" }), { code: "IMAGE_INVALID" });
  const circle = JSON.stringify({ manifests: [{ digest: "sha256:" }] });
  writeFileSync(join(layout, "index.json"), circle);
  await assert.rejects(readImage({ path: layout }), { code: "IMAGE_INVALID" });
  await assert.rejects(readImage({ path: temporaryFolder() }), { code: "IMAGE_INVALID" });
  await assert.rejects(readImage({ path: join(temporaryFolder(), "absent.tar") }), { code: "IMAGE_INVALID" });
  assert.equal(sha256("").length, 64);
});

test("an image in a registry, pushed by skopeo: the same packages, and an error for what is not there", async (t) => {
  if (spawnSync("skopeo", ["--version"]).status !== 0) return t.skip("no skopeo: apt-get install skopeo");
  const peer = await startRegistry();
  if (typeof peer === "string") return t.skip(peer);
  const layout = ociLayout([
    tarOf([file("etc/os-release", "ID=debian\nVERSION_ID=12\n"), file(STATUS, stanza("a", "1"))]),
    tarOf([file(STATUS, stanza("b", "2")), { name: "large", data: Buffer.alloc(6 * 2 ** 20, 7) }]),
  ]);
  const uri = peer.uri("app");
  const target = `docker://${uri.slice("oci://".length)}`;
  const words = ["copy", "--insecure-policy", "--dest-tls-verify=false", `oci:${layout}`, target];
  const pushed = spawnSync("skopeo", words, { encoding: "utf8" });
  assert.equal(pushed.status, 0, pushed.stderr);
  const bom = await createBom({ root: uri, env: peer.env });
  assert.deepEqual(
    packagesOf(bom).map(({ ecosystem, name }) => [ecosystem, name]),
    [["Debian:12", "b"]],
  );
  await assert.rejects(createBom({ root: peer.uri("absent"), env: peer.env }), { code: "IMAGE_INVALID" });
  await assert.rejects(createBom({ root: "oci://not a place" }), { code: "STORE_URI_INVALID" });
});
