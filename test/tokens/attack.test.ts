/** Row 3 of the threat model: everything that a thief of a token could try gets the one and same 401. */
import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, sign as signBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import * as jose from "jose";
import { ModelkeepError, toProblem } from "../../src/base/index.ts";
import { ProofKey, TOKEN_LIMITS, type TokenService } from "../../src/tokens/index.ts";
import { type Crafted, craftProof, enrolHolder, type HandClock, type Holder, SERVER, startTokens } from "./support.ts";

const URL_CHAT = `${SERVER}/v1/chat/completions`;
const encode = (value: unknown) => jose.base64url.encode(JSON.stringify(value));

interface Scene {
  readonly tokens: TokenService;
  readonly clock: HandClock;
  readonly holder: Holder;
  proof(changed?: Crafted, url?: string): Promise<string>;
  ask(dpop: string | undefined, changed?: { authorization?: string; method?: string; url?: string }): Promise<unknown>;
}

async function scene(t: TestContext): Promise<Scene> {
  const { tokens, clock } = await startTokens(t);
  const holder = await enrolHolder(tokens, clock);
  return {
    tokens,
    clock,
    holder,
    proof: (changed, url = URL_CHAT) => craftProof(holder, clock, url, changed),
    ask: (dpop, changed = {}) =>
      tokens.authenticate({
        authorization: `DPoP ${holder.accessToken}`,
        method: "POST",
        url: URL_CHAT,
        ...changed,
        dpop,
      }),
  };
}

const REFUSED = { code: "TOKEN_REFUSED", status: 401 };
const refused = (asked: Promise<unknown>) => assert.rejects(asked, REFUSED);

test("a good proof passes, so that the refusals below mean something", async (t) => {
  const { ask, proof } = await scene(t);
  await ask(await proof());
  await ask(await proof({}, `${URL_CHAT}?x=1#y`), { url: `${URL_CHAT}?z=2` });
  await ask(await proof({ payload: { htu: "HTTP://127.0.0.1:8420/v1/./chat/completions" } }));
});

test("replay of a proof", async (t) => {
  const { ask, proof, clock } = await scene(t);
  const once = await proof();
  await ask(once);
  await refused(ask(once));
  clock.pass(30);
  await refused(ask(once));
});

test("replay of one proof many times at once lets one through", async (t) => {
  const { ask, proof } = await scene(t);
  const once = await proof();
  const results = await Promise.allSettled(Array.from({ length: 50 }, () => ask(once)));
  assert.equal(results.filter((result) => result.status === "fulfilled").length, 1);
});

test("replay with the mirrored signature, which is valid too", async (t) => {
  const { ask, proof } = await scene(t);
  const once = await proof();
  await ask(once);
  const n = BigInt("0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
  const signature = Buffer.from(once.split(".")[2] ?? "", "base64url");
  const s = n - BigInt(`0x${signature.subarray(32).toString("hex")}`);
  const mirrored = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex")]);
  await refused(ask(`${once.split(".").slice(0, 2).join(".")}.${mirrored.toString("base64url")}`));
});

test("a proof for another method, URL, host, scheme or token", async (t) => {
  const { ask, proof, holder } = await scene(t);
  await refused(ask(await proof(), { method: "GET" }));
  await refused(ask(await proof({ payload: { htm: "post" } })));
  await refused(ask(await proof(), { url: `${SERVER}/v1/embeddings` }));
  await refused(ask(await proof(), { url: "http://127.0.0.1:9999/v1/chat/completions" }));
  await refused(ask(await proof(), { url: "https://127.0.0.1:8420/v1/chat/completions" }));
  await refused(ask(await proof({ payload: { htu: "http://evil@127.0.0.1:8420/v1/chat/completions" } })));
  await refused(ask(await proof({ payload: { htu: "/v1/chat/completions" } })));
  await refused(ask(await proof({ payload: { ath: undefined } })));
  await refused(ask(await proof({ payload: { ath: holder.key.thumbprint } })));
});

test("the token of one key with a proof of another", async (t) => {
  const { ask, tokens, clock, holder } = await scene(t);
  const other = await enrolHolder(tokens, clock, { type: "Workload", id: "other" });
  const stolen = { ...other, accessToken: holder.accessToken };
  await refused(ask(await craftProof(stolen, clock, URL_CHAT)));
});

test("a stolen token with a fresh key of the thief, also under the owner's public key", async (t) => {
  const { ask, proof, clock, holder } = await scene(t);
  const { privateJwk } = await ProofKey.generate();
  await refused(ask(await craftProof({ ...holder, jwk: { ...privateJwk } }, clock, URL_CHAT)));
  await refused(ask(await proof({ signWith: { ...privateJwk } })));
  await refused(ask(undefined));
});

test("a proof that is too old or from the future", async (t) => {
  const { ask, proof, clock } = await scene(t);
  const now = Math.floor(clock.now() / 1000);
  await refused(ask(await proof({ payload: { iat: now - TOKEN_LIMITS.proofPastSeconds - 1 } })));
  await refused(ask(await proof({ payload: { iat: now + TOKEN_LIMITS.proofFutureSeconds + 1 } })));
  for (const iat of [undefined, null, "1800000000", now + 0.5, Number.MAX_VALUE, -1, [now]]) {
    await refused(ask(await proof({ payload: { iat } })));
  }
  await ask(await proof({ payload: { iat: now - TOKEN_LIMITS.proofPastSeconds + 1 } }));
});

test("alg none, HS256 with the public key as secret, RS256, ES384 and an ES256 in DER", async (t) => {
  const { ask, proof, holder } = await scene(t);
  const [header = "", payload = ""] = (await proof()).split(".");
  const headOf = (alg: string) => encode({ ...JSON.parse(Buffer.from(header, "base64url").toString()), alg });
  for (const alg of ["none", "None", "NONE", ""]) {
    await refused(ask(`${headOf(alg)}.${payload}.`));
    await refused(ask(`${headOf(alg)}.${payload}.${"A".repeat(86)}`));
  }
  const publicKey = (await jose.importJWK({ ...holder.key.publicJwk }, "ES256", {
    extractable: true,
  })) as jose.CryptoKey;
  for (const secret of [await jose.exportSPKI(publicKey), JSON.stringify(holder.key.publicJwk)]) {
    const mac = createHmac("sha512", secret)
      .update(`${headOf("HS512")}.${payload}`)
      .digest("base64url");
    await refused(ask(`${headOf("HS512")}.${payload}.${mac}`));
    const short = createHmac("sha256", secret)
      .update(`${headOf("HS256")}.${payload}`)
      .digest("base64url");
    await refused(ask(`${headOf("HS256")}.${payload}.${short}`));
  }
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwk = rsa.publicKey.export({ format: "jwk" });
  const rsaHead = encode({ typ: "dpop+jwt", alg: "RS256", jwk });
  const rsaSigned = signBytes("sha256", Buffer.from(`${rsaHead}.${payload}`), rsa.privateKey).toString("base64url");
  await refused(ask(`${rsaHead}.${payload}.${rsaSigned}`));
  const ec = (await jose.importJWK(holder.jwk, "ES256", { extractable: true })) as jose.CryptoKey;
  const key = await jose.exportPKCS8(ec);
  const der = signBytes("sha256", Buffer.from(`${header}.${payload}`), key);
  await refused(ask(`${header}.${payload}.${der.toString("base64url")}`));
});

test("a header jwk with its private part, another curve, a point off the curve, or further members", async (t) => {
  const { ask, proof, holder } = await scene(t);
  const jwk = holder.key.publicJwk;
  const zero = jose.base64url.encode(new Uint8Array(32));
  const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ format: "jwk" });
  const wrong = [
    { ...jwk, d: holder.jwk.d },
    { ...jwk, kid: "1" },
    { ...jwk, x5u: "http://127.0.0.1/" },
    { ...jwk, crv: "P-384" },
    p384,
    { ...jwk, x: zero },
    { ...jwk, y: jwk.x },
    { ...jwk, x: `${jwk.x}=` },
    { ...jwk, x: `A${jwk.x}` },
    { kty: "oct", k: jwk.x },
    { kty: "OKP", crv: "Ed25519", x: jwk.x },
    [jwk],
    "jwk",
    null,
    undefined,
  ];
  for (const each of wrong) await refused(ask(await proof({ header: { jwk: each } })));
});

test("a header that names a key elsewhere, a critical extension, or another type", async (t) => {
  const { ask, proof } = await scene(t);
  const wrong = [
    { kid: "../../key" },
    { jku: "http://127.0.0.1/jwks" },
    { x5c: ["AA"] },
    { crit: ["exp"], exp: 1 },
    { b64: false },
    { typ: "JWT" },
    { typ: undefined },
    { typ: "DPOP+JWT" },
    { typ: "modelkeep-renewal+jwt" },
  ];
  for (const header of wrong) await refused(ask(await proof({ header })));
});

test("a jti that is missing, short, long or no text", async (t) => {
  const { ask, proof } = await scene(t);
  for (const jti of [undefined, "", "short", "x".repeat(TOKEN_LIMITS.maxJtiCharacters + 1), 12345678, "tab\tinside"]) {
    await refused(ask(await proof({ payload: { jti } })));
  }
});

test("the renewal's JWT does not pass for a proof, nor two proofs in one header", async (t) => {
  const { ask, proof, holder, clock } = await scene(t);
  const random = { bytes: (length: number) => crypto.getRandomValues(new Uint8Array(length)) };
  await refused(ask(await holder.key.assert(SERVER, { clock, random })));
  await refused(ask(`${await proof()}, ${await proof()}`));
});

test("an expired token", async (t) => {
  const { ask, proof, clock } = await scene(t);
  clock.pass(TOKEN_LIMITS.tokenTtlSeconds - 1);
  await ask(await proof());
  clock.pass(1);
  await refused(ask(await proof()));
});

test("clock jumps: set forth or back, no used proof is fresh again", async (t) => {
  const { ask, proof, clock } = await scene(t);
  const once = await proof();
  await ask(once);
  clock.wall += 3600_000;
  await refused(ask(await proof()));
  clock.wall -= 3600_000;
  await refused(ask(once));
  clock.pass(100);
  await refused(ask(once));
  clock.wall -= 95_000;
  await refused(ask(once));
  await ask(await proof());
});

test("clock jumps: a clock that was far ahead and is set right does not lock everybody out", async (t) => {
  const { tokens, clock } = await startTokens(t);
  clock.wall += 7200_000;
  const before = await enrolHolder(tokens, clock);
  clock.pass(100);
  const ask = async (holder: Holder) =>
    tokens.authenticate({
      authorization: `DPoP ${holder.accessToken}`,
      dpop: await craftProof(holder, clock, URL_CHAT),
      method: "POST",
      url: URL_CHAT,
    });
  await ask(before);
  clock.wall -= 7200_000;
  clock.pass(100);
  await refused(ask(before));
  await ask(await enrolHolder(tokens, clock));
});

test("clock jumps: a clock that runs slowly or is set back makes no token longer", async (t) => {
  const { ask, proof, clock } = await scene(t);
  await ask(await proof());
  for (let passed = 0; passed < TOKEN_LIMITS.tokenTtlSeconds; passed += 30) {
    await ask(await proof());
    clock.steady += 30_000;
    clock.wall += 2_000;
  }
  await refused(ask(await proof()));
});

test("other schemes and malformed authorizations", async (t) => {
  const { ask, proof, holder } = await scene(t);
  const wrong = [
    `Bearer ${holder.accessToken}`,
    `Basic ${holder.accessToken}`,
    holder.accessToken,
    `DPoP  ${holder.accessToken}`,
    `DPoP ${holder.accessToken} `,
    `DPoP ${holder.accessToken}, DPoP ${holder.accessToken}`,
    `DPoP ${holder.accessToken.slice(0, -1)}`,
    `DPoP ${holder.accessToken}A`,
    `DPoP ${holder.tokenId}`,
    "DPoP",
    "",
    "DPoP __proto__",
  ];
  for (const authorization of wrong) await refused(ask(await proof(), { authorization }));
});

test("the answer to every refusal is the same to the byte", async (t) => {
  const { ask, proof } = await scene(t);
  const used = await proof();
  await ask(used);
  const wrong = [undefined, used, "x.y.z", await proof({ payload: { iat: 1 } })];
  const answers = [];
  for (const dpop of wrong) {
    answers.push(await ask(dpop).catch((error) => error instanceof ModelkeepError && JSON.stringify(toProblem(error))));
  }
  assert.equal(new Set(answers).size, 1);
  assert.match(String(answers[0]), /TOKEN_REFUSED/);
});

test("header junk gets the one 401 and never another error", async (t) => {
  const { ask, proof } = await scene(t);
  const good = await proof();
  const part = fc.oneof(
    fc.json().map((text) => jose.base64url.encode(text)),
    fc.base64String().map((text) => text.replace(/[+/=]/g, "_")),
    fc.string(),
  );
  const mangled = fc
    .tuple(fc.nat(good.length - 1), fc.string({ minLength: 1, maxLength: 3 }))
    .filter(([at, text]) => good.slice(at, at + text.length) !== text)
    .map(([at, text]) => good.slice(0, at) + text + good.slice(at + text.length));
  const header = fc.oneof(
    fc.string({ maxLength: 2000 }),
    fc.tuple(part, part, part).map((all) => all.join(".")),
    mangled,
  );
  const runs = 300 * Math.max(1, Number(process.env.MODELKEEP_FUZZ_SECONDS ?? 1));
  await fc.assert(
    fc.asyncProperty(header, fc.option(fc.string({ maxLength: 300 }), { nil: undefined }), async (dpop, scheme) => {
      await refused(ask(dpop, scheme === undefined ? {} : { authorization: scheme }));
    }),
    { numRuns: runs },
  );
  await ask(good);
});
