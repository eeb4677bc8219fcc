/** Small files that would be large, and short texts that would take long: an error, in bounded time and memory. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { ModelkeepError } from "../../src/base/index.ts";
import {
  type AdvisoryMatch,
  BOM_LIMITS,
  importAdvisories,
  judgeMatches,
  readImage,
  readLockfile,
  type VexStatement,
} from "../../src/bom/index.ts";
import { zip } from "../scan/support.ts";
import { record, temporaryFolder, writeFolder } from "./support.ts";
import { ociLayout, tarOf } from "./tar-support.ts";

/** Generous: the machine may have much else to do. What is quadratic takes hours. */
const MOST_MS = 60_000;
const MOST_BYTES = 400 * 2 ** 20;

async function refusedSoon(code: string, work: () => Promise<unknown>): Promise<void> {
  const [started, before] = [performance.now(), process.memoryUsage.rss()];
  await assert.rejects(work(), { code });
  assert.ok(performance.now() - started < MOST_MS, "in time");
  assert.ok(process.memoryUsage.rss() - before < MOST_BYTES, "in little memory");
}

test("a dump whose members lie upon each other, and would unpack to gigabytes", async () => {
  const data = Buffer.from(`${" ".repeat(900_000)}${record("A", "p", { versions: ["1"] })}`);
  const entries = Array.from({ length: 5000 }, (_, at) => ({
    name: `${at}.json`,
    data: at === 0 ? data : Buffer.alloc(0),
    deflate: true,
    ...(at === 0 ? {} : { headerOf: 0 }),
  }));
  const whole = zip(entries);
  const sizes = directorySizes(whole);
  assert.equal(sizes.length, 5000);
  const from = [join(writeFolder({ "all.zip": whole }), "all.zip")];
  await refusedSoon("ADVISORY_DUMP_INVALID", () => importAdvisories({ from, into: join(temporaryFolder(), "a.idx") }));
});

/** The helper writes the sizes of each entry's own data: every one gets those of the first. */
function directorySizes(whole: Buffer): number[] {
  const found: number[] = [];
  let first: Buffer | undefined;
  for (
    let at = whole.indexOf("PK\x01\x02", 0, "latin1");
    at !== -1;
    at = whole.indexOf("PK\x01\x02", at + 4, "latin1")
  ) {
    first ??= Buffer.from(whole.subarray(at + 16, at + 28));
    first.copy(whole, at + 16);
    found.push(whole.readUInt32LE(at + 24));
  }
  return found;
}

test("an image of ten million empty members, as a layer and packed as a whole", async () => {
  const members = tarOf(Array.from({ length: 50_000 }, (_, at) => ({ name: `d/${at % 100}` }))).subarray(0, -1024);
  const packed = gzipSync(members);
  const bomb = Buffer.concat(Array.from({ length: 200 }, () => packed));
  const layout = ociLayout([Buffer.alloc(0)], { pack: () => bomb });
  await refusedSoon("IMAGE_INVALID", () => readImage({ path: layout }));
  const path = join(temporaryFolder(), "image.tar.gz");
  writeFileSync(path, bomb);
  await refusedSoon("IMAGE_INVALID", () => readImage({ path }));
  const plain = join(temporaryFolder(), "image.tar");
  const many = Array.from({ length: 3 }, (_, part) =>
    tarOf(Array.from({ length: 40_000 }, (_, at) => ({ name: `${part}/${at}` }))).subarray(0, -1024),
  );
  writeFileSync(plain, Buffer.concat([...many, Buffer.alloc(1024)]));
  await refusedSoon("IMAGE_INVALID", () => readImage({ path: plain }));
});

const KINDS = [
  ...["requirements.txt", "uv.lock", "poetry.lock", "Pipfile.lock", "pylock.toml", "package-lock.json", "yarn.lock"],
  ...["environment.yml", "conda-lock.yml", "pixi.lock", "pnpm-lock.yaml", "conda-linux-64.lock"],
];
const REPEATED = [
  "\n",
  " ",
  "\r",
  "- ",
  "a-",
  "[",
  "{",
  '"',
  "\\\n",
  " #",
  "a: ",
  "&a ",
  "*a ",
  "a[",
  "a@npm:1, ",
  "a==1 ;",
];

test("texts of one thing repeated take as long as they are, and not the square of that", async () => {
  const folder = temporaryFolder();
  for (const name of KINDS) {
    const path = join(folder, name);
    const started = performance.now();
    for (const text of REPEATED) {
      for (const head of ["", "@EXPLICIT\nhttps://x/", "dependencies:\n- "]) {
        writeFileSync(path, `${head}${text.repeat(60_000 / text.length)}`);
        await readLockfile(path).catch((error: unknown) => assert.ok(error instanceof ModelkeepError, name));
      }
    }
    assert.ok(performance.now() - started < MOST_MS, `${name} took ${performance.now() - started} ms`);
  }
});

function vexOf(ids: readonly string[], products: readonly string[]): VexStatement {
  return { ids, products, status: "not_affected", impact: "so they say", timeMs: 0 };
}

const weaknesses = (count: number): AdvisoryMatch[] =>
  Array.from({ length: count }, (_, at) => ({
    ...{ ecosystem: "PyPI", package: "torch", version: "2.5.0", purl: "pkg:pypi/torch@2.5.0" },
    ...{ id: `PYSEC-${at}`, aliases: [`CVE-2026-${at}`], severity: "high", score: 7.5, malware: false, kev: false },
    ...{ fixed: [], summary: "" },
  }));

test("statements about other products, and of every weakness, do not make each match look at all of them", () => {
  const matches = weaknesses(2_000);
  const elsewhere = Array.from({ length: 50_000 }, (_, at) => `pkg:pypi/other-${at}@1.0`);
  const all = matches.map(({ id }) => id);
  const about = vexOf(all.slice(1), [...elsewhere, "pkg:pypi/torch"]);
  const idle = Array.from({ length: 40_000 }, (_, at) => vexOf([`CVE-2020-${at}`], ["pkg:pypi/torch"]));
  const start = performance.now();
  const judged = judgeMatches(matches, { statements: [...idle, about], nowMs: 0 });
  assert.ok(performance.now() - start < 5_000, `${performance.now() - start} ms`);
  assert.deepEqual(
    judged.filter(({ state }) => state === "open").map(({ id }) => id),
    ["PYSEC-0"],
  );
});

test("statements beyond the limit are an error, and not half read", () => {
  const products = Array.from({ length: 1_000 }, () => "pkg:pypi/torch");
  const statements = Array.from({ length: BOM_LIMITS.vexLooks / 1_000 + 1 }, () => vexOf(["PYSEC-0"], products));
  assert.throws(() => judgeMatches(weaknesses(1), { statements, nowMs: 0 }), { code: "VEX_INVALID" });
});
