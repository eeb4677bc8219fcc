/** What a principal owns (open codes, enrolled keys, live tokens) and the changes to it, each inside one transaction. */
import { type EntityRef, entityText } from "../base/index.ts";
import type { RecordTransaction } from "../store/index.ts";
import { tokenError } from "./errors.ts";
import { TOKEN_LIMITS } from "./limits.ts";
import {
  type CodeRecord,
  encode,
  idOf,
  type PrincipalRecord,
  readAssertion,
  readCode,
  readKeyRecord,
  readPrincipal,
  readToken,
  sameHash,
  TABLES,
  type TokenRecord,
} from "./records.ts";
import type { PrincipalRef, Revoked } from "./tokens.ts";

type OwnedKey = PrincipalRecord["keys"][number];

/** What a token is made of before it is known whose it will be. */
export interface NewToken {
  readonly hash: string;
  readonly thumbprint: string;
  readonly issuedAt: number;
  readonly expiresAt: number;
}

/** Fails with TOKEN_LIMIT when the principal has too many open codes. */
export async function addCode(tx: RecordTransaction, code: CodeRecord, now: number): Promise<void> {
  const owner = await loadPruned(tx, code.principal, now);
  if (owner.codes.length >= TOKEN_LIMITS.codesPerPrincipal) {
    throw tokenError("TOKEN_LIMIT", { detail: `${TOKEN_LIMITS.codesPerPrincipal} open codes` });
  }
  const id = idOf("code", code.hash);
  owner.codes.push({ id, expiresAt: code.expiresAt });
  await tx.put(TABLES.codes, id, encode(code), { ifVersion: 0 });
  await save(tx, owner);
}

export async function dropCode(tx: RecordTransaction, id: string, now: number): Promise<void> {
  const record = await tx.get(TABLES.codes, id);
  if (!record) return;
  const owner = await loadPruned(tx, readCode(record.value).principal, now);
  owner.codes = owner.codes.filter((code) => code.id !== id);
  await tx.delete(TABLES.codes, id);
  await save(tx, owner);
}

/**
 * Uses up the code, enrols the key and issues its first token; undefined when the code does not count. Fails with
 * TOKEN_LIMIT when there are too many keys; the code is not used up then.
 */
export async function redeemCode(
  tx: RecordTransaction,
  codeHash: string,
  token: NewToken,
): Promise<TokenRecord | undefined> {
  const id = idOf("code", codeHash);
  const record = await tx.get(TABLES.codes, id);
  const code = record && readCode(record.value);
  if (!code || !sameHash(code.hash, codeHash) || code.expiresAt <= token.issuedAt) return undefined;
  const known = await tx.get(TABLES.keys, token.thumbprint);
  if (known && entityText(readKeyRecord(known.value).principal) !== entityText(code.principal)) return undefined;
  const owner = await loadPruned(tx, code.principal, token.issuedAt);
  const key = await enrolKey(tx, owner, code, token);
  owner.codes = owner.codes.filter((open) => open.id !== id);
  await tx.delete(TABLES.codes, id);
  await tx.put(TABLES.keys, token.thumbprint, encode({ principal: code.principal }));
  return addToken(tx, owner, key, token);
}

async function enrolKey(
  tx: RecordTransaction,
  owner: PrincipalRecord,
  { groups }: CodeRecord,
  { thumbprint, issuedAt }: NewToken,
): Promise<OwnedKey> {
  const before = owner.keys.find((key) => key.thumbprint === thumbprint);
  const key: OwnedKey = { enrolledAt: issuedAt, tokens: [], ...before, thumbprint, groups, usedAt: issuedAt };
  owner.keys = owner.keys.filter((other) => other !== before);
  if (owner.keys.length >= TOKEN_LIMITS.keysPerPrincipal) await dropIdleKeys(tx, owner, issuedAt);
  owner.keys.push(key);
  return key;
}

/** Only when there is need of room: a clock that was set wrongly for a moment must not end every enrolment. */
async function dropIdleKeys(tx: RecordTransaction, owner: PrincipalRecord, now: number): Promise<void> {
  await deleteKeys(
    tx,
    owner.keys.filter((key) => isIdle(key, now)),
  );
  owner.keys = owner.keys.filter((key) => !isIdle(key, now));
  if (owner.keys.length >= TOKEN_LIMITS.keysPerPrincipal) {
    throw tokenError("TOKEN_LIMIT", { detail: `${TOKEN_LIMITS.keysPerPrincipal} keys` });
  }
}

/** An idle key renews no more. */
export function isIdle(key: OwnedKey, now: number): boolean {
  return key.usedAt < now - TOKEN_LIMITS.keyIdleSeconds * 1000;
}

/** Issues one more token to an enrolled key; undefined when the key is not enrolled or the assertion was used. */
export async function renewToken(
  tx: RecordTransaction,
  assertion: { readonly id: string; readonly expiresAt: number },
  token: NewToken,
): Promise<TokenRecord | undefined> {
  const known = await tx.get(TABLES.keys, token.thumbprint);
  if (!known || (await tx.get(TABLES.assertions, assertion.id))) return undefined;
  const owner = await loadPruned(tx, readKeyRecord(known.value).principal, token.issuedAt);
  const key = owner.keys.find((candidate) => candidate.thumbprint === token.thumbprint);
  if (!key || isIdle(key, token.issuedAt)) return undefined;
  await tx.put(TABLES.assertions, assertion.id, encode({ expiresAt: assertion.expiresAt }), { ifVersion: 0 });
  key.usedAt = token.issuedAt;
  return addToken(tx, owner, key, token);
}

async function addToken(
  tx: RecordTransaction,
  owner: PrincipalRecord,
  key: OwnedKey,
  token: NewToken,
): Promise<TokenRecord> {
  const id = idOf("tok", token.hash);
  const record: TokenRecord = { ...token, id, principal: owner.principal, groups: key.groups };
  key.tokens.push({ id, expiresAt: token.expiresAt });
  for (const old of key.tokens.splice(0, key.tokens.length - TOKEN_LIMITS.tokensPerKey)) {
    await tx.delete(TABLES.tokens, old.id);
  }
  await tx.put(TABLES.tokens, id, encode(record), { ifVersion: 0 });
  await save(tx, owner);
  return record;
}

/** Ends the token, the key that it is bound to, and every other token of that key; undefined when it does not live. */
export async function revokeToken(tx: RecordTransaction, id: string, now: number): Promise<Revoked | undefined> {
  const record = await tx.get(TABLES.tokens, id);
  const token = record && readToken(record.value);
  if (!token || token.expiresAt <= now) return undefined;
  const owner = await loadPruned(tx, token.principal, now);
  const gone = owner.keys.filter((key) => key.thumbprint === token.thumbprint);
  owner.keys = owner.keys.filter((key) => key.thumbprint !== token.thumbprint);
  await tx.delete(TABLES.tokens, id);
  await deleteKeys(tx, gone);
  await save(tx, owner);
  return { principal: owner.principal, codes: 0, keys: gone.length, tokens: countTokens(gone) };
}

/** Ends everything the principal owns; undefined when there is nothing. */
export async function revokePrincipal(tx: RecordTransaction, principal: EntityRef): Promise<Revoked | undefined> {
  const record = await tx.get(TABLES.principals, entityText(principal));
  if (!record) return undefined;
  const owner = readPrincipal(record.value);
  for (const code of owner.codes) await tx.delete(TABLES.codes, code.id);
  await deleteKeys(tx, owner.keys);
  await tx.delete(TABLES.principals, entityText(principal));
  const { codes, keys } = owner;
  return { principal: owner.principal, codes: codes.length, keys: keys.length, tokens: countTokens(keys) };
}

/** Deletes what has ended. */
export async function prunePrincipal(tx: RecordTransaction, principal: PrincipalRef, now: number): Promise<void> {
  if (await tx.get(TABLES.principals, entityText(principal))) await save(tx, await loadPruned(tx, principal, now));
}

export async function pruneAssertions(tx: RecordTransaction, now: number): Promise<number> {
  const { records } = await tx.list(TABLES.assertions, { limit: TOKEN_LIMITS.pageRecords });
  const over = records.filter((record) => readAssertion(record.value).expiresAt <= now);
  for (const record of over) await tx.delete(TABLES.assertions, record.id);
  return over.length;
}

async function loadPruned(tx: RecordTransaction, principal: PrincipalRef, now: number): Promise<PrincipalRecord> {
  const record = await tx.get(TABLES.principals, entityText(principal));
  const owner: PrincipalRecord = record ? readPrincipal(record.value) : { principal, codes: [], keys: [] };
  for (const code of owner.codes) if (code.expiresAt <= now) await tx.delete(TABLES.codes, code.id);
  for (const token of owner.keys.flatMap((key) => key.tokens)) {
    if (token.expiresAt <= now) await tx.delete(TABLES.tokens, token.id);
  }
  return {
    principal: owner.principal,
    codes: owner.codes.filter((code) => code.expiresAt > now),
    keys: owner.keys.map((key) => ({ ...key, tokens: key.tokens.filter((token) => token.expiresAt > now) })),
  };
}

async function deleteKeys(tx: RecordTransaction, keys: readonly OwnedKey[]): Promise<void> {
  for (const key of keys) {
    await tx.delete(TABLES.keys, key.thumbprint);
    for (const token of key.tokens) await tx.delete(TABLES.tokens, token.id);
  }
}

async function save(tx: RecordTransaction, owner: PrincipalRecord): Promise<void> {
  const id = entityText(owner.principal);
  if (owner.codes.length === 0 && owner.keys.length === 0) await tx.delete(TABLES.principals, id);
  else await tx.put(TABLES.principals, id, encode(owner));
}

function countTokens(keys: readonly OwnedKey[]): number {
  return keys.reduce((sum, key) => sum + key.tokens.length, 0);
}
