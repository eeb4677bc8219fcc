/** Every command of sealed models, killed with SIGKILL at a random moment, then run again: nothing half-written is taken for whole. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { MIB, makePair, modelkeep, temporaryFolder, writeModel } from "./support.ts";

const program = fileURLToPath(new URL("../../bin/modelkeep.mjs", import.meta.url));
/** How often each command is killed; a longer run: MODELKEEP_KILLS=100. */
const KILLS = Number(process.env.MODELKEEP_KILLS ?? 3);
const MARK = "a sentence that only the weights know";

const contents: Readonly<Record<string, Buffer>> = {
  "a/large.bin": Buffer.concat([Buffer.from(MARK), randomBytes(40 * MIB)]),
  "b.bin": Buffer.concat([Buffer.from(MARK), randomBytes(9 * MIB)]),
  "config.json": Buffer.from("{}"),
};

const home = temporaryFolder();
const at = (name: string) => join(home, name);
const kms = (name: string) => pathToFileURL(at(`${name}.kek`)).href;
writeModel(contents, at("model"));
const { privatePem, publicPem } = makePair();
writeFileSync(at("signer.pem"), privatePem, { mode: 0o600 });
writeFileSync(at("signer.pub"), publicPem);

async function run(words: string): Promise<{ exit: number; code: string; data: Record<string, unknown> }> {
  const { exit, stdout, stderr } = await modelkeep([...words.split(" "), "--json"], home);
  const data = JSON.parse(stdout || stderr);
  return { exit, code: String(data.code ?? ""), data };
}

async function runs(words: string): Promise<void> {
  const { exit, data } = await run(words);
  assert.equal(exit, 0, `${words}: ${JSON.stringify(data)}`);
}

const start = (words: string) =>
  spawn(process.execPath, ["--no-warnings", program, ...words.split(" "), "--json"], { cwd: home, stdio: "ignore" });

/** Whether it was killed before it ended. */
function killAfter(words: string, milliseconds: number): Promise<boolean> {
  const child = start(words);
  const timer = setTimeout(() => child.kill("SIGKILL"), milliseconds);
  return new Promise((resolve) =>
    child.on("close", (_code, signal) => {
      clearTimeout(timer);
      resolve(signal === "SIGKILL");
    }),
  );
}

function contentsOf(folder: string): Map<string, Buffer> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(
    entries.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(folder.length + 1), readFileSync(path)] as const;
    }),
  );
}

let opens = 0;
/** With any of the keys that may be the right one now. */
async function assertOpens(sealed: string, ...keys: readonly string[]): Promise<void> {
  const output = `whole-${opens++}`;
  const exits: unknown[] = [];
  for (const key of keys)
    exits.push((await run(`open ${sealed} --kms ${kms(key)} --trust signer.pub --output ${output}`)).data);
  assert.ok(existsSync(at(output)), JSON.stringify(exits));
  assert.deepEqual(contentsOf(at(output)), new Map(Object.entries(contents)));
}

function assertNoPlaintext(folder: string): void {
  for (const [name, bytes] of contentsOf(folder)) assert.equal(bytes.includes(MARK), false, name);
}

const copyOf = (name: string, number: number) => {
  cpSync(at(name), at(`${name}-${number}`), { recursive: true });
  return `${name}-${number}`;
};

interface Attack {
  readonly what: string;
  /** Prepares a place of its own, and gives the command. */
  prepare(number: number): string | Promise<string>;
  /** After a kill: nothing half-written may be taken for whole. */
  afterKill?(number: number): void | Promise<void>;
  /** After the command ran once more, with its outcome. */
  afterAll(number: number, again: { exit: number; code: string }): void | Promise<void>;
}

/** Done the second time, or by the first before it was killed. */
const done = (again: { exit: number; code: string }, ...codes: readonly string[]) =>
  assert.ok(again.exit === 0 || codes.includes(again.code), JSON.stringify(again));

/** Without a seal there is no sealed model; with one, everything is there. */
async function sealedOrNot(name: string): Promise<void> {
  if (existsSync(join(at(name), "seal.json"))) return assertOpens(name, "one");
  const { code } = await run(`open ${name} --kms ${kms("one")} --trust signer.pub --output never`);
  assert.equal(code, "BLOB_NOT_FOUND");
  assert.equal(existsSync(at("never")), false);
}

/** A killed write may leave a nameless file beside the seal, which is no blob; joining and shredding take it away. */
const blobsOf = (name: string) => new Map([...contentsOf(at(name))].filter(([path]) => !path.startsWith(".tmp-")));

const notFinished = (name: string) =>
  [...contentsOf(at(name)).keys()].filter((path) => /\.tmp-|\.done$|^parts/.test(path));

const attacks: readonly Attack[] = [
  {
    what: "seal",
    prepare: (number) => `seal model --key signer.pem --kms ${kms("one")} --output out-${number}`,
    afterKill: (number) => sealedOrNot(`out-${number}`),
    async afterAll(number, again) {
      done(again, "SEALED_EXISTS");
      await assertOpens(`out-${number}`, "one");
      assertNoPlaintext(at(`out-${number}`));
    },
  },
  {
    what: "open",
    prepare: (number) => `open sealed --kms ${kms("one")} --trust signer.pub --output opened-${number}`,
    afterKill(number) {
      if (existsSync(at(`opened-${number}`)))
        assert.deepEqual(contentsOf(at(`opened-${number}`)), new Map(Object.entries(contents)));
    },
    afterAll(number, again) {
      done(again, "OUTPUT_EXISTS");
      assert.deepEqual(contentsOf(at(`opened-${number}`)), new Map(Object.entries(contents)));
      assert.deepEqual(
        readdirSync(home).filter((name) => name.includes(".unverified-")),
        [],
        "no plaintext stays",
      );
    },
  },
  {
    what: "push",
    prepare: (number) => `push sealed ${pathToFileURL(at("store")).href} --prefix m/${number}`,
    afterKill: (number) => (existsSync(at(`store/m/${number}`)) ? sealedOrNot(`store/m/${number}`) : undefined),
    async afterAll(number, again) {
      done(again);
      assert.deepEqual(blobsOf(`store/m/${number}`), blobsOf("sealed"));
    },
  },
  {
    what: "pull",
    prepare: (number) => `pull ${pathToFileURL(at("sealed")).href} pulled-${number}`,
    afterKill: (number) => (existsSync(at(`pulled-${number}`)) ? sealedOrNot(`pulled-${number}`) : undefined),
    afterAll(number, again) {
      done(again);
      assert.deepEqual(blobsOf(`pulled-${number}`), blobsOf("sealed"));
    },
  },
  {
    what: "rewrap",
    prepare: (number) => `rewrap ${copyOf("sealed", 100 + number)} --from-kms ${kms("one")} --kms ${kms("two")}`,
    afterKill: (number) => assertOpens(`sealed-${100 + number}`, "one", "two"),
    async afterAll(number, again) {
      done(again, "NO_KEY_SERVICE");
      await assertOpens(`sealed-${100 + number}`, "two");
    },
  },
  {
    what: "recipients add",
    prepare: (number) =>
      `recipients add ${copyOf("sealed", 200 + number)} --from-kms ${kms("one")} --kms ${kms("two")}`,
    afterKill: (number) => assertOpens(`sealed-${200 + number}`, "one"),
    async afterAll(number, again) {
      done(again);
      await assertOpens(`sealed-${200 + number}`, "one");
      await assertOpens(`sealed-${200 + number}`, "two");
    },
  },
  {
    what: "shred",
    prepare: (number) => `shred ${copyOf("sealed", 300 + number)} --yes`,
    async afterAll(number, again) {
      done(again);
      const name = `sealed-${300 + number}`;
      assert.equal(
        (await run(`open ${name} --kms ${kms("one")} --trust signer.pub --output never`)).code,
        "BLOB_NOT_FOUND",
      );
      assert.equal(existsSync(at("never")), false);
    },
  },
  {
    what: "seal --part",
    prepare: (number) => `seal model-signed --part 0/2 --trust signer.pub --kms ${kms("one")} --output parts-${number}`,
    afterKill: (number) => sealedOrNot(`parts-${number}`),
    async afterAll(number, again) {
      done(again);
      const place = `--kms ${kms("one")} --output parts-${number}`;
      await runs(`seal model-signed --part 1/2 --trust signer.pub ${place}`);
      await runs(`seal model-signed --join --key signer.pem ${place}`);
      await assertOpens(`parts-${number}`, "one");
      assert.deepEqual(notFinished(`parts-${number}`), []);
    },
  },
  {
    what: "seal --join",
    prepare: (number) =>
      `seal model-signed --join --key signer.pem --kms ${kms("one")} --output ${copyOf("halves", 400 + number)}`,
    afterKill: (number) => sealedOrNot(`halves-${400 + number}`),
    async afterAll(number, again) {
      done(again, "SEALED_EXISTS");
      await assertOpens(`halves-${400 + number}`, "one");
      assertNoPlaintext(at(`halves-${400 + number}`));
    },
  },
];

test("what the kills begin with", async () => {
  for (const key of ["one", "two"]) await runs(`kms init ${kms(key)}`);
  mkdirSync(at("store"));
  cpSync(at("model"), at("model-signed"), { recursive: true });
  await runs("sign model-signed --key signer.pem");
  await runs(`seal model --key signer.pem --kms ${kms("one")} --output sealed`);
  for (const part of [0, 1])
    await runs(`seal model-signed --part ${part}/2 --trust signer.pub --kms ${kms("one")} --output halves`);
  assert.ok(statSync(at("halves/parts")).isDirectory(), "a file is in ranges");
});

async function attack({ prepare, afterKill, afterAll }: Attack, t: TestContext): Promise<void> {
  const whole = performance.now();
  assert.equal(await killAfter(await prepare(0), 60_000), false);
  const duration = performance.now() - whole;
  let killed = 0;
  for (let number = 1; number <= KILLS; number++) {
    const words = await prepare(number);
    const moment = duration * (0.3 + 0.7 * Math.random());
    const isKilled = await killAfter(words, moment);
    if (isKilled) killed++;
    t.diagnostic(`${isKilled ? "killed" : "ended"} after ${moment.toFixed(0)} of ${duration.toFixed(0)} ms`);
    if (isKilled) await afterKill?.(number);
    await afterAll(number, await run(words));
  }
  assert.ok(KILLS < 20 || killed > 0);
}

for (const one of attacks) test(`${one.what}, killed`, (t) => attack(one, t));

test("a change of recipients that was killed leaves no wrapped key behind a shredding", async () => {
  const name = copyOf("sealed", 900);
  writeFileSync(
    join(at(name), ".tmp-0b5b1a3c-0000-4000-8000-000000000000"),
    readFileSync(join(at(name), "envelope.json")),
  );
  await runs(`shred ${name} --yes`);
  for (const [path, bytes] of contentsOf(at(name))) assert.equal(bytes.includes("recipients"), false, path);
});

test("what a killed opening left is taken away by the next, and nobody makes a whole model of the rest", async () => {
  mkdirSync(at("again.unverified-0123456789abcdef/a"), { recursive: true });
  writeFileSync(at("again.unverified-0123456789abcdef/a/large.bin"), MARK);
  mkdirSync(at("again.unverified-0123456789abcdee.discarded"));
  mkdirSync(at("again.unverified-other"));
  await runs(`open sealed --kms ${kms("one")} --trust signer.pub --output again`);
  assert.deepEqual(
    readdirSync(home)
      .filter((name) => name.startsWith("again"))
      .sort(),
    ["again", "again.unverified-other"],
  );
  const both = await Promise.all(
    [1, 2, 3].map(() => run(`open sealed --kms ${kms("one")} --trust signer.pub --output raced`)),
  );
  assert.ok(
    both.some(({ exit }) => exit === 0),
    JSON.stringify(both),
  );
  for (const { exit, code } of both) assert.ok(exit === 0 || /^OUTPUT_(EXISTS|UNWRITABLE)$/.test(code), code);
  assert.deepEqual(contentsOf(at("raced")), new Map(Object.entries(contents)));
});
