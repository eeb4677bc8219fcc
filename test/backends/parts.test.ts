/** The small readers of the key services' clients: JSON that carries a secret, and URIs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { takeSts } from "../../src/backends/aws/sts.ts";
import { formWithSecret } from "../../src/backends/oauth.ts";
import {
  jsonWithBase64,
  jsonWithText,
  takeBase64,
  takeLines,
  takeText,
  takeTexts,
} from "../../src/backends/secret-json.ts";
import { parseVaultUri } from "../../src/backends/vault/uri.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { codeOf } from "../sealing/support.ts";

const codeOfSync = (work: () => unknown) => codeOf(async () => work());

test("a secret in JSON is what JSON says it is, both ways, and is gone from the text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_100 }), fc.dictionary(fc.string(), fc.jsonValue()), (secret, rest) => {
      // The reader refuses this name at any depth.
      fc.pre(!JSON.stringify(rest).includes('"__proto__"'));
      const { plaintext: _, ...others } = rest;
      const text = jsonWithBase64("plaintext", secret, others);
      const { plaintext, ...back } = JSON.parse(Buffer.from(text).toString());
      assert.deepEqual(back, JSON.parse(JSON.stringify(others)));
      assert.equal(plaintext, Buffer.from(secret).toString("base64"));
      if (JSON.stringify(others).includes('"plaintext"')) return;
      assert.deepEqual(takeBase64(text, "plaintext").secret, secret);
      assert.ok(plaintext.length < 8 || !Buffer.from(text).includes(plaintext));
    }),
  );
});

test("any bytes are read or refused with one code, and a refused text is blotted out", () => {
  const pieces = fc.array(
    fc.constantFrom("{", "}", '"a"', ":", '"', "AAAA", "A", "=", "\\", ",", " ", "\u0000", "ä", "[", "1"),
    { maxLength: 30 },
  );
  fc.assert(
    fc.property(pieces, (parts) => {
      const text = utf8(parts.join(""));
      const before = parts.join("");
      try {
        const { secret } = takeBase64(text, "a");
        const value = JSON.parse(before);
        assert.ok(JSON.stringify(value).includes(`"a":"${Buffer.from(secret).toString("base64")}"`));
      } catch (error) {
        assert.ok(error instanceof ModelkeepError && error.code === "KMS_ANSWER_INVALID", String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a secret that is there twice, escaped, not canonical or not text is refused", async () => {
  for (const text of [
    '{"a":"AAAA","b":{"a":"BBBB"}}',
    '{"a":1}',
    '{"a":null}',
    '{"a":"AA\\u0041A"}',
    '{"a":"AAA"}',
    '{"a":"AB=="}',
    '{"a":"AAAA',
    '{"a":"AAAA"',
    '{"b":"AAAA"}',
    '["a","AAAA"]',
    "",
  ])
    assert.equal(await codeOfSync(() => takeBase64(utf8(text), "a")), "KMS_ANSWER_INVALID", text);
  assert.deepEqual(takeText(utf8('{ "t" : "hvs.x", "u": 1 }'), "t").secret, utf8("hvs.x"));
  for (const secret of ['a"b', "a\\b", "a b", "a\n", "ä"])
    assert.equal(await codeOfSync(() => jsonWithText("t", utf8(secret), {})), "KMS_CREDENTIALS_MISSING");
});

test("a Vault URI names one key over TLS, and nothing else", async () => {
  assert.deepEqual(parseVaultUri("vault://vault.example:8200/a/b/key?namespace=team/x", {}), {
    uri: "vault://vault.example:8200/a/b/key?namespace=team%2Fx",
    origin: "https://vault.example:8200",
    namespace: "team/x",
    mount: "a/b",
    key: "key",
  });
  assert.equal(parseVaultUri("vault://h/transit/k", { VAULT_NAMESPACE: "/ns/" }).namespace, "ns");
  assert.equal(parseVaultUri("vault://127.0.0.1:1/t/k?insecure-http=1", {}).origin, "http://127.0.0.1:1");
  for (const uri of [
    "vault://",
    "vault:///t/k",
    "vault://h",
    "vault://h/k",
    "vault://h//k",
    "vault://h/t/../sys/k",
    "vault://h/t/%2e%2e/k",
    "vault://h/t/k%2fx",
    "vault://h/t/k?token=x",
    "vault://h/t/k?namespace=a&namespace=b",
    "vault://h/t/k?namespace=../x",
    "vault://h/t/k#x",
    "vault://u:p@h/t/k",
    "vault://h/t/k?insecure-http=1",
    "vault://127.0.0.1.example/t/k?insecure-http=1",
    "vault://127.0.0.1/t/k?insecure-http=0",
    "vault://h:99999/t/k",
    `vault://h/t/${"k".repeat(3_000)}`,
  ])
    assert.equal(await codeOfSync(() => parseVaultUri(uri, {})), "KMS_URI_UNKNOWN", uri);
});

test("a key of lines in JSON is what JSON says it is, and is gone from the text", () => {
  const line = fc.stringMatching(/^[A-Za-z0-9+/= -]{0,64}$/);
  fc.assert(
    fc.property(fc.array(line, { maxLength: 20 }), fc.boolean(), (lines, isFirst) => {
      const key = lines.join("\n");
      // A value that is the name itself is refused: it could not be told from the name.
      fc.pre(key !== "key");
      const text = utf8(JSON.stringify(isFirst ? { key, more: 1 } : { more: 1, key }));
      const { secret, rest } = takeLines(text, "key");
      assert.equal(Buffer.from(secret).toString(), key);
      assert.equal((rest as { more: number }).more, 1);
      assert.ok(key.length < 8 || !Buffer.from(text).includes(JSON.stringify(key).slice(1, -1)));
    }),
  );
  for (const text of [
    '{"key":"a\\tb"}',
    '{"key":"a\\u000ab"}',
    '{"key":"a',
    '{"key":1}',
    '{"key":"a","key":"b"}',
    '{"key":"\\',
  ])
    assert.throws(() => takeLines(utf8(text), "key"), { code: "KMS_ANSWER_INVALID" }, text);
});

test("several secrets are taken out of one answer, or none and nothing is left", () => {
  const text = utf8('{"b":"BBBB","n":1,"a":"AAAA"}');
  const { secrets, rest } = takeTexts(text, ["a", "b"]);
  assert.deepEqual(
    secrets.map((secret) => Buffer.from(secret).toString()),
    ["AAAA", "BBBB"],
  );
  assert.deepEqual(rest, { b: "****", n: 1, a: "****" });
  const odd = utf8('{"a":"AAAA","b":7}');
  assert.throws(() => takeTexts(odd, ["a", "b"]), { code: "KMS_ANSWER_INVALID" });
  assert.ok(!Buffer.from(odd).includes("AAAA"));
});

test("credentials of AWS STS are read whole or not at all, from any text", () => {
  const answer = (parts: Record<string, string>) =>
    `<R><Credentials>${Object.entries(parts)
      .map(([name, value]) => `<${name}>${value}</${name}>`)
      .join("")}</Credentials></R>`;
  const good = {
    AccessKeyId: "ASIAEXAMPLE",
    SecretAccessKey: "secret/+=1",
    SessionToken: "token/+==",
    Expiration: "2026-01-01T00:00:00Z",
  };
  const taken = takeSts(utf8(answer(good)));
  assert.equal(Buffer.from(taken.secretKey).toString(), good.SecretAccessKey);
  assert.equal(Buffer.from(taken.sessionToken).toString(), good.SessionToken);
  assert.deepEqual([taken.accessKeyId, taken.expiration], [good.AccessKeyId, good.Expiration]);
  for (const name of Object.keys(good))
    for (const value of ["", "<b>", "&amp;x", "a b"]) {
      const text = utf8(answer({ ...good, [name]: value }));
      assert.throws(() => takeSts(text), { code: "KMS_ANSWER_INVALID" }, `${name} ${value}`);
      assert.ok(text.every((byte) => byte === 0x2a));
    }
  const twice = answer(good).replace("<R>", "<R><SessionToken>x</SessionToken>");
  assert.throws(() => takeSts(utf8(twice)), { code: "KMS_ANSWER_INVALID" });
  const pieces = fc.array(
    fc.constantFrom("<SecretAccessKey>", "</SecretAccessKey>", "<SessionToken>", "</SessionToken>", "a", "<", ">"),
  );
  fc.assert(
    fc.property(pieces, (parts) => assert.throws(() => takeSts(utf8(parts.join(""))), { code: "KMS_ANSWER_INVALID" })),
  );
});

test("a form carries a secret as URLSearchParams would", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string(), (secret, field) => {
      const form = new URLSearchParams(Buffer.from(formWithSecret("s", utf8(secret), { field })).toString());
      assert.deepEqual(
        [...form],
        [
          ["field", field.toWellFormed()],
          ["s", secret.toWellFormed()],
        ],
      );
    }),
  );
});
