/** Reference values of a running server: renewed, never rolled back, never loosened by a file that went bad. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { parseAppraisalProfile, type ReferenceValues, signReferenceValues } from "../../src/attestation/index.ts";
import { ModelkeepError, silentLog, utf8 } from "../../src/base/index.ts";
import { openReferences } from "../../src/server/references.ts";
import { loadEcSigner } from "../../src/signing/index.ts";
import { ecKey } from "../loader/support.ts";
import { MemoryShared, MemoryStore } from "../secrets/support.ts";

const START = Date.UTC(2026, 0, 10);
const DAY = 24 * 3_600_000;
const failsWith = (code: string) => (error: unknown) => error instanceof ModelkeepError && error.code === code;
const [ONE, TWO] = ["aa".repeat(48), "bb".repeat(48)];

function setUp(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), "modelkeep-references-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const { privatePem, publicPem } = ecKey();
  const [file, more, key] = ["a.json", "b.json", "key.pub"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  writeFileSync(key, publicPem);
  let time = START;
  const clock = { now: () => time, monotonic: () => time };
  const shared = new MemoryShared();
  const write = async (values: Partial<ReferenceValues>, { path = file, pem = privatePem } = {}) => {
    const usual = { version: 1, name: "image", issued_at: at(0), expires_at: at(30) } as const;
    writeFileSync(path, await signReferenceValues({ ...usual, ...values }, loadEcSigner(pem)));
  };
  const open = (paths = [file]) => {
    const ports = { paths, keyPaths: [key], store: new MemoryStore(shared), clock, log: silentLog };
    return openReferences(ports, parseAppraisalProfile(utf8("tdx: {}\n")));
  };
  const pass = (ms: number) => {
    time += ms;
  };
  return { write, open, pass, file, more };
}

const at = (days: number) => new Date(START + days * DAY).toISOString();

test("a newer statement takes over within a minute; the same profile as long as nothing changed", async (t) => {
  const { write, open, pass } = setUp(t);
  await write({ tdx: { mr_td: [ONE] } });
  const read = await open();
  const first = await read();
  assert.deepEqual(first.tdx?.mr_td, [ONE]);
  await write({ issued_at: at(0.5), tdx: { mr_td: [TWO] } });
  assert.equal(await read(), first);
  pass(60_000);
  assert.deepEqual((await read()).tdx?.mr_td, [], "it is of the afternoon: not good yet");
  pass(DAY);
  assert.deepEqual((await read()).tdx?.mr_td, [TWO]);
  pass(29 * DAY);
  assert.deepEqual((await read()).tdx?.mr_td, [], "it has ended");
});

test("an older statement is refused, at the start and later, on every replica; the last ones stay", async (t) => {
  const { write, open, pass } = setUp(t);
  await write({ issued_at: at(-1), tdx: { mr_td: [ONE] } });
  const read = await open();
  await write({ issued_at: at(-2), tdx: { mr_td: [TWO] } });
  pass(60_000);
  assert.deepEqual((await read()).tdx?.mr_td, [ONE]);
  await assert.rejects(open(), failsWith("REFERENCE_ROLLBACK"), "another replica on the same store");
  await write({ issued_at: at(-1), tdx: { mr_td: [ONE] } });
  assert.deepEqual((await (await open())()).tdx?.mr_td, [ONE], "the same again is no step back");
  await write({ name: "other", issued_at: at(-2), tdx: { mr_td: [TWO] } });
  assert.deepEqual((await (await open())()).tdx?.mr_td, [TWO], "each name has its own line");
});

test("a statement of the far future, by a clock that was wrong, does not shut out the right ones", async (t) => {
  const { write, open } = setUp(t);
  await write({ issued_at: at(9000), expires_at: at(9010), tdx: { mr_td: [TWO] } });
  assert.deepEqual((await (await open())()).tdx?.mr_td, []);
  await write({ tdx: { mr_td: [ONE] } });
  assert.deepEqual((await (await open())()).tdx?.mr_td, [ONE]);
});

test("a file that went bad changes nothing while the server runs, and stops one that starts", async (t) => {
  const { write, open, pass, file, more } = setUp(t);
  await write({ tdx: { mr_td: [ONE] } });
  const read = await open();
  const stranger = ecKey().privatePem;
  for (const spoil of [
    () => write({ tdx: { mr_td: [TWO] } }, { path: file, pem: stranger }),
    async () => writeFileSync(file, "{}"),
    async () => rmSync(file),
  ]) {
    await spoil();
    pass(60_000);
    assert.deepEqual((await read()).tdx?.mr_td, [ONE]);
    await assert.rejects(open());
  }
  await write({ tdx: { mr_td: [ONE] } });
  await write({ tdx: { mr_td: [TWO] } }, { path: more });
  await assert.rejects(open([file, more]), failsWith("REFERENCE_INVALID"), "two of one name");
  await write({ name: "second", tdx: { mr_td: [TWO] } }, { path: more });
  assert.deepEqual((await (await open([file, more]))()).tdx?.mr_td, [ONE, TWO]);
});
