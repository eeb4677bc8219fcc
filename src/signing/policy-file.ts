/** The signer policy as a file: who may sign which models, how many of them, and what they must say beside it. */
import { createHash, type Hash } from "node:crypto";
import { basename, dirname, resolve } from "node:path";
import { z } from "zod";
import type { Certificate } from "../codec/index.ts";
import { readFileBounded } from "../host/index.ts";
import { STATEMENT_TYPE_NAMES } from "./attach-types.ts";
import { signingError } from "./errors.ts";
import { loadTrustedKey, type TrustedKey } from "./keys.ts";
import { SIGNING_LIMITS } from "./limits.ts";
import { MODEL_PATTERN } from "./policy-pattern.ts";
import { parseYamlFile } from "./policy-yaml.ts";
import {
  type IdentityTrust,
  type RevocationTrust,
  readCertificates,
  readRevocationLists,
  type TrustedAuthority,
  type TrustedIdentity,
  trustIdentities,
} from "./trust.ts";

const path = z.string().min(1).max(4_096);
const signerName = z.string().regex(/^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/, "small letters, digits, dots and dashes");

const credential = z
  .strictObject({
    key: path.optional(),
    key_id: z
      .string()
      .regex(/^[0-9a-f]{64}$/, "64 lower-case hex digits")
      .optional(),
    ca: path.optional(),
    subject: z.string().min(1).max(1_024).optional(),
    identity: z.string().min(1).max(2_048).optional(),
    issuer: z.string().min(1).max(2_048).optional(),
  })
  .refine((entry) => /^(key|key_id|ca,subject|identity,issuer)$/.test(Object.keys(entry).sort().join(",")), {
    message: "it is one of: key, key_id, ca with subject, identity with issuer",
  });

const rule = z.strictObject({
  models: z
    .array(z.string().regex(MODEL_PATTERN, "NAME@VERSION, where * stands for any characters within its half"))
    .min(1)
    .max(SIGNING_LIMITS.policyRules),
  signers: z.array(signerName).min(1).max(SIGNING_LIMITS.policySigners),
  threshold: z.int().min(1).max(SIGNING_LIMITS.policySigners).default(1),
  require: z.array(z.enum(STATEMENT_TYPE_NAMES)).max(STATEMENT_TYPE_NAMES.length).default([]),
});

const policyFile = z
  .strictObject({
    version: z.literal(1),
    trusted_root: path.optional(),
    timestamp_authorities: z.array(path).max(SIGNING_LIMITS.policySigners).default([]),
    crls: z.array(path).max(SIGNING_LIMITS.crls).default([]),
    require_revocation_check: z.boolean().default(false),
    signers: z.record(signerName, z.union([credential, z.array(credential).min(1).max(SIGNING_LIMITS.policySigners)])),
    rules: z.array(rule).min(1).max(SIGNING_LIMITS.policyRules),
  })
  .superRefine(({ signers, rules }, context) => {
    if (Object.keys(signers).length > SIGNING_LIMITS.policySigners)
      context.addIssue({ code: "custom", path: ["signers"], message: `over ${SIGNING_LIMITS.policySigners} signers` });
    for (const [index, { signers: named, threshold }] of rules.entries()) {
      const wrong = (field: string, message: string) =>
        context.addIssue({ code: "custom", path: ["rules", index, field], message });
      for (const name of named) if (!Object.hasOwn(signers, name)) wrong("signers", `there is no signer ${name}`);
      if (new Set(named).size < threshold) wrong("threshold", "it asks for more signers than the rule names");
    }
  });

export interface PolicySigner {
  readonly name: string;
  readonly keys: readonly TrustedKey[];
  readonly keyIds: readonly string[];
  readonly authorities: readonly (TrustedAuthority & { readonly subject: string })[];
  readonly identities: readonly TrustedIdentity[];
}

export interface PolicyRule {
  readonly models: readonly string[];
  readonly signers: readonly PolicySigner[];
  /** Distinct signers. */
  readonly threshold: number;
  readonly require: z.output<typeof rule>["require"];
}

export interface SignerPolicy {
  readonly rules: readonly PolicyRule[];
  readonly verifier?: IdentityTrust["verifier"];
  /** Whose timestamps count. */
  readonly timestampAuthorities: readonly Certificate[];
  readonly revocation?: RevocationTrust;
  /** Lower-case hex SHA-256 of every byte that it was read from: another one is another policy. */
  readonly digest: string;
  /** The files that it was read from, in that order. */
  readonly sources: readonly Source[];
}

interface Source {
  readonly path: string;
  readonly maxBytes: number;
}

/**
 * Reads the file and the keys, certificates and lists that it names, relative to its folder. Throws SIGNER_POLICY_INVALID with
 * the line of every problem, and what reading a file throws.
 */
export async function readSignerPolicy(file: string): Promise<SignerPolicy> {
  const hash = createHash("sha256");
  const sources: Source[] = [];
  const read = async (name: string, maxBytes: number) => {
    const source = { path: resolve(dirname(file), name), maxBytes };
    const bytes = await readFileBounded(source.path, maxBytes);
    addSource(hash, bytes);
    sources.push(source);
    return bytes;
  };
  const text = await read(basename(file), SIGNING_LIMITS.policyBytes);
  const parsed = parseYamlFile(text, policyFile, "SIGNER_POLICY_INVALID");
  const signers = new Map<string, PolicySigner>();
  for (const [name, entry] of Object.entries(parsed.signers))
    signers.set(name, await loadSigner(name, Array.isArray(entry) ? entry : [entry], read));
  refuseShared([...signers.values()]);
  const rules = parsed.rules.map(({ signers: named, ...rest }) => ({
    ...rest,
    signers: [...new Set(named)].flatMap((name) => signers.get(name) ?? []),
  }));
  const timestampAuthorities = await readAll(parsed.timestamp_authorities, (name) => read(name, KEY_BYTES));
  const revocation = await readRevocation(parsed, read);
  const keyless = [...signers.values()].some(({ identities }) => identities.length > 0);
  const verifier = keyless ? await readVerifier(parsed.trusted_root, read) : {};
  const anchors = timestampAuthorities.flatMap(readCertificates);
  const digest = hash.digest("hex");
  return { rules, ...verifier, timestampAuthorities: anchors, ...revocation, digest, sources };
}

/** The same policy as long as no file of it changed, and else what is there now. Throws what `readSignerPolicy` throws. */
export async function rereadSignerPolicy(file: string, before: SignerPolicy): Promise<SignerPolicy> {
  const hash = createHash("sha256");
  for (const { path: name, maxBytes } of before.sources) addSource(hash, await readFileBounded(name, maxBytes));
  return hash.digest("hex") === before.digest ? before : readSignerPolicy(file);
}

function addSource(hash: Hash, bytes: Uint8Array): void {
  hash.update(`${bytes.length}:`).update(bytes);
}

const KEY_BYTES = SIGNING_LIMITS.keyFileBytes;

/** One after the other: their order is part of the digest. */
async function readAll<T>(names: readonly string[], read: (name: string) => Promise<T>): Promise<T[]> {
  const found: T[] = [];
  for (const name of names) found.push(await read(name));
  return found;
}

async function readRevocation({ crls, require_revocation_check: required }: z.output<typeof policyFile>, read: Read) {
  if (crls.length === 0 && !required) return {};
  const files = await readAll(crls, (name) => read(name, SIGNING_LIMITS.crlBytes));
  return { revocation: { crls: readRevocationLists(files), required } };
}

async function readVerifier(trustedRoot: string | undefined, read: Read): Promise<Pick<SignerPolicy, "verifier">> {
  const root = trustedRoot && (await read(trustedRoot, SIGNING_LIMITS.trustedRootBytes));
  const { identities } = await trustIdentities([], root || undefined);
  return identities ? { verifier: identities.verifier } : {};
}

type Read = (name: string, maxBytes: number) => Promise<Uint8Array>;

async function loadSigner(name: string, entries: z.output<typeof credential>[], read: Read): Promise<PolicySigner> {
  const keys: TrustedKey[] = [];
  const authorities: PolicySigner["authorities"][number][] = [];
  for (const { key, ca, subject = "" } of entries) {
    if (key !== undefined) keys.push(loadTrustedKey(await read(key, SIGNING_LIMITS.keyFileBytes)));
    if (ca === undefined) continue;
    const anchors = readCertificates(await read(ca, SIGNING_LIMITS.keyFileBytes));
    authorities.push(...anchors.map((anchor) => ({ anchor, subject })));
  }
  return {
    name,
    keys,
    keyIds: [...keys.map(({ keyId }) => keyId), ...entries.flatMap(({ key_id }) => key_id ?? [])],
    authorities,
    identities: entries.flatMap(({ identity, issuer }) => (identity && issuer ? [{ identity, issuer }] : [])),
  };
}

/** One credential under two names would be two signers. */
function refuseShared(signers: readonly PolicySigner[]): void {
  const seen = new Map<string, string>();
  for (const { name, keyIds, authorities, identities } of signers) {
    const credentials = [
      ...keyIds.map((id) => `key ${id}`),
      ...authorities.map(({ anchor, subject }) => `subject ${JSON.stringify(subject)} under ${anchor.sha256}`),
      ...identities.map(({ identity, issuer }) => `identity ${JSON.stringify([identity, issuer])}`),
    ];
    for (const one of credentials) {
      const other = seen.get(one);
      if (other !== undefined && other !== name)
        throw signingError("SIGNER_POLICY_INVALID", { detail: `${name} and ${other} are one signer: ${one}` });
      seen.set(one, name);
    }
  }
}
