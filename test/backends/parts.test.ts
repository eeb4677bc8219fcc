/** The small readers of the key services' clients: JSON that carries a secret, and URIs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { jsonWithBase64, jsonWithText, takeBase64, takeText } from "../../src/backends/secret-json.ts";
import { parseVaultUri } from "../../src/backends/vault/uri.ts";
import { ModelkeepError, utf8 } from "../../src/base/index.ts";
import { codeOf } from "../sealing/support.ts";

const codeOfSync = (work: () => unknown) => codeOf(async () => work());

test("a secret in JSON is what JSON says it is, both ways, and is gone from the text", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1_100 }), fc.dictionary(fc.string(), fc.jsonValue()), (secret, rest) => {
      const { plaintext: _, ["__proto__"]: __, ...others } = rest;
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
