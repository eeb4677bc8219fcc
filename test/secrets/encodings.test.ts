/** A value that gets out in another form is still found: every alignment, every case, any cut; and .env files in any shape. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { silentLog } from "../../src/base/index.ts";
import { ReplyScrubber } from "../../src/gateway/scrub.ts";
import { GuardedBytes, systemRandom } from "../../src/host/index.ts";
import { findForms, formsOf, maskForms, wipeForms } from "../../src/secrets/encodings.ts";
import { createSecretService, formsOfKey, parseDotenv } from "../../src/secrets/index.ts";
import { createLog, redactLine } from "../../src/server/log.ts";
import { FakeClock, KeptEvents, MemoryStore } from "./support.ts";

const seconds = Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 0);
const runs = seconds > 0 ? { interruptAfterTimeLimit: seconds * 1000, numRuns: 1e9 } : { numRuns: 300 };

/** Written apart from the code that is tried: by Node's own encoders. */
const encoders: Readonly<Record<string, (bytes: Buffer) => string>> = {
  plain: (bytes) => bytes.toString("latin1"),
  base64: (bytes) => bytes.toString("base64"),
  base64url: (bytes) => bytes.toString("base64url"),
  hex: (bytes) => bytes.toString("hex"),
  HEX: (bytes) => bytes.toString("hex").toUpperCase(),
  url: (bytes) => [...bytes].map((byte) => encodeURIComponent(String.fromCharCode(byte))).join(""),
  form: (bytes) => new URLSearchParams({ k: bytes.toString("latin1") }).toString().slice(2),
  json: (bytes) => JSON.stringify(bytes.toString("latin1")).slice(1, -1),
  "json in json": (bytes) => JSON.stringify(JSON.stringify(bytes.toString("latin1")).slice(1, -1)).slice(1, -1),
};

const printable = fc.array(fc.integer({ min: 0x20, max: 0x7e }), { minLength: 8, maxLength: 80 });
const around = fc.array(fc.integer({ min: 0x20, max: 0x7e }), { maxLength: 7 });

test("property: in every encoding of any text that holds it, the value is masked, and only it", () => {
  fc.assert(
    fc.property(printable, around, around, (inner, before, after) => {
      const value = Buffer.from(inner);
      const forms = formsOf(value);
      for (const [name, encode] of Object.entries(encoders)) {
        const text = Buffer.from(encode(Buffer.from([...before, ...inner, ...after])), "latin1");
        const spans = findForms(forms, text);
        assert.ok(spans.length > 0, `${name} was not found`);
        const covered = spans.reduce((sum, { start, end }) => sum + end - start, 0);
        assert.ok(covered >= encode(value).replace(/=/g, "").length - 2, `${name}: ${covered} of it`);
        maskForms(forms, text);
        assert.deepEqual(findForms(forms, text), []);
      }
      wipeForms(forms);
      assert.ok(forms.every((form) => form.every((byte) => byte === 0)));
    }),
    runs,
  );
});

test("property: what an encoded value is cut into does not matter", () => {
  const key = 'sk-test+/="\\ %41 (*)';
  const texts = Object.values(encoders).map((encode) => encode(Buffer.from(key, "latin1")));
  const part = fc.constantFrom(...texts, "sk-", "c2st", "hello ", "\n\n", "%", "\\");
  const cuts = fc.array(fc.nat(400), { maxLength: 20 });
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), cuts, (parts, at) => {
      const whole = parts.join("");
      const clean = (chunks: readonly string[]) => {
        using guarded = GuardedBytes.take(Buffer.from(key, "latin1"));
        const scrubber = new ReplyScrubber(guarded);
        const out = chunks.map((chunk) => scrubber.push(Buffer.from(chunk, "latin1")).toString("latin1"));
        return out.join("") + (scrubber.end()?.toString("latin1") ?? "");
      };
      const places = [0, ...at.map((cut) => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
      const cut = clean(places.slice(1).map((end, i) => whole.slice(places[i], end)));
      for (const text of texts) assert.ok(!cut.includes(text), `${text} got through`);
      assert.equal(cut.replaceAll("***", ""), clean([whole]).replaceAll("***", ""));
    }),
    runs,
  );
});

test("forms are wiped with the key, and a short value is looked for as it is only", () => {
  const key = GuardedBytes.take(Buffer.from("sk-canary-0123456789"));
  const forms = formsOfKey(key);
  assert.equal(forms.find(Buffer.from("x c2stY2FuYXJ5LTAxMjM0NTY3ODk= y")).length, 1);
  key.wipe();
  assert.throws(() => forms.find(Buffer.from("sk-canary-0123456789")), { code: "MEMORY_WIPED" });
  assert.throws(() => formsOfKey(GuardedBytes.take(Buffer.from("a"))).find(Buffer.alloc(0)) && assert.fail());
  const large = formsOfKey(GuardedBytes.take(Buffer.alloc(16 * 1024, "k\n")));
  assert.equal(large.find(Buffer.from(JSON.stringify("k\n".repeat(8 * 1024)))).length, 1);
});

test("a log line with a value in use shows it in no form", async () => {
  const clock = new FakeClock();
  const ports = { store: new MemoryStore(), clock, random: systemRandom, recorder: new KeptEvents(), log: silentLog };
  const secrets = await createSecretService(ports);
  const value = 'pa"ss/wörd+with\\odd=chars';
  await secrets.put("odd", Buffer.from(value), { by: { type: "Admin", id: "a" } });
  const lease = await secrets.lease("odd", { holder: { type: "Workload", id: "w" } });
  const lines: string[] = [];
  const findSecrets = (line: Buffer) => secrets.findHeld(line);
  const log = createLog({ level: "debug", write: (line) => void lines.push(line), findSecrets });
  const bytes = Buffer.from(value);
  const shown = [value, bytes.toString("base64"), `https://h/?k=${encodeURIComponent(value)}`, bytes.toString("hex")];
  for (const text of shown) {
    log.warn(`said ${text}`, { text, nested: { text: JSON.stringify({ text }) } });
    log.error("failed", { error: new Error(`upstream said ${text}`, { cause: new Error(text) }) });
  }
  const all = lines.join("");
  assert.equal(lines.length, 8);
  for (const text of [...shown, JSON.stringify(value).slice(1, -1), "ss/w", "6f64643d"])
    assert.ok(!all.includes(text), `${text} stands in the log`);
  for (const line of lines) JSON.parse(line);
  await lease.checkIn();
  assert.ok(redactLine(value, findSecrets).includes("ss/w"), "after check-in nobody knows the value");
  await secrets.close();
});

test(".env files: quotes, comments, exports, lines; what is wrong is said by its line", () => {
  const text = [
    "\ufeff# comment",
    "A=1",
    "export B = two words # comment",
    "C='single # \\n kept'",
    'D="double \\"q\\" \\n line" # comment',
    "E=`multi",
    "line`",
    "F=",
    "A=again\r",
    "G=a#b=c==",
  ].join("\n");
  const read = (input: string) =>
    Object.fromEntries(parseDotenv(Buffer.from(input)).map(({ name, value }) => [name, Buffer.from(value).toString()]));
  assert.deepEqual(read(text), {
    A: "again",
    B: "two words",
    C: "single # \\n kept",
    D: 'double "q" \n line',
    E: "multi\nline",
    F: "",
    G: "a#b=c==",
  });
  for (const bad of ["A", "1A=x", 'A="open', "A='x' y", "=x", `A=1\n${"x".repeat(300)}=1`]) {
    assert.throws(
      () => parseDotenv(Buffer.from(bad)),
      (error: Error & { code: string }) => {
        assert.equal(error.code, "DOTENV_INVALID");
        return /line \d/.test(error.message) && !error.message.includes("open");
      },
    );
  }
  const many = Array.from({ length: 1_001 }, (_, n) => `A${n}=1`).join("\n");
  assert.throws(() => parseDotenv(Buffer.from(many)), { code: "DOTENV_INVALID" });
});

test("property: what is written quoted is read back, and no bytes make the reader fall", () => {
  const name = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,20}$/);
  const quoted = fc.dictionary(
    name,
    fc.string({ unit: "binary" }).map((text) => text.replaceAll("'", "")),
  );
  fc.assert(
    fc.property(quoted, (values) => {
      const text = Object.entries(values).map(([key, value]) => `${key}='${value}'`);
      const read = parseDotenv(Buffer.from(text.join("\n")));
      assert.deepEqual(
        Object.fromEntries(read.map((entry) => [entry.name, Buffer.from(entry.value).toString()])),
        Object.fromEntries(Object.entries(values).map(([key, value]) => [key, Buffer.from(value).toString()])),
      );
    }),
    runs,
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        parseDotenv(bytes);
      } catch (error) {
        assert.equal((error as { code?: string }).code, "DOTENV_INVALID");
      }
    }),
    runs,
  );
});
