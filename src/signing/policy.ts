/** Judges the signatures and statements of one model by a signer policy: which rule, who counts, what is missing. */
import { EXIT, ModelkeepError } from "../base/index.ts";
import { checkStatements, type NamedBytes, readSignedManifest } from "./attach.ts";
import type { StatementType } from "./attach-types.ts";
import { type VerifiedManifest, verifyBundle } from "./bundle.ts";
import { signingError } from "./errors.ts";
import type { TrustedKey } from "./keys.ts";
import type { Manifest } from "./manifest.ts";
import type { PolicyRule, PolicySigner, SignerPolicy } from "./policy-file.ts";
import { matchesPattern } from "./policy-pattern.ts";
import type { SignerIdentity } from "./signer.ts";
import type { Trust } from "./trust.ts";

export interface PolicyQuestion {
  /** `name@version`. */
  readonly model: string;
  /** The model's own first. */
  readonly signatures: readonly NamedBytes[];
  readonly statements: readonly NamedBytes[];
  /** When certificates must be valid, in milliseconds since the Unix epoch. */
  readonly atMs: number;
  /** Keys for those that the policy names by their id alone. */
  readonly keys?: readonly TrustedKey[];
  /** Beside what the rule requires. */
  readonly required?: readonly StatementType[];
  /** Statements that the caller is about to make itself. */
  readonly promised?: readonly StatementType[];
  /** The first signature is the one that is used from here on, whoever counts: the others count for its files alone. */
  readonly sealed?: boolean;
}

export interface PolicyFinding {
  readonly id: "rule" | "signature" | "threshold" | "statements";
  readonly result: "passed" | "failed" | "unchecked";
  readonly message: string;
}

export interface PolicyVerdict {
  readonly verdict: "accepted" | "refused";
  readonly model: string;
  /** Names of those that count, as the policy has them. */
  readonly signers: readonly string[];
  readonly rules: readonly PolicyFinding[];
  /** Types that are there and hold. */
  readonly statements: readonly StatementType[];
  /** The signature to verify the files with, and whom to trust then; absent when none counts. */
  readonly base?: { readonly bundle: Uint8Array | string; readonly manifest: VerifiedManifest; readonly trust: Trust };
}

interface Counted {
  readonly signer: PolicySigner;
  readonly bundle: Uint8Array | string;
  readonly manifest: VerifiedManifest;
}

/**
 * The first rule whose pattern matches decides; without one the model is refused. Throws what `verifyBundle` throws
 * when no signature could be judged at all.
 */
export function judgeByPolicy(policy: SignerPolicy, question: PolicyQuestion): PolicyVerdict {
  const { model } = question;
  const index = policy.rules.findIndex(({ models }) => models.some((pattern) => matchesPattern(pattern, model)));
  const rule = policy.rules[index];
  if (!rule) {
    const rules: PolicyFinding[] = [{ id: "rule", result: "failed", message: `no rule is about ${model}` }];
    return { verdict: "refused", model, signers: [], rules, statements: [] };
  }
  const trust = trustOf(policy, rule, question);
  const { counted, findings } = countSignatures(rule, trust, question);
  const groups = distinctSigners(counted);
  const signers = [...new Set(counted.map(({ signer }) => signer.name))];
  const enough = groups >= rule.threshold;
  const said = judgeStatements(rule, counted, question);
  const rules: PolicyFinding[] = [
    { id: "rule", result: "passed", message: `rule ${index + 1}: ${rule.models.join(", ").slice(0, 200)}` },
    ...findings,
    {
      id: "threshold",
      result: enough ? "passed" : "failed",
      message: `${groups} of ${rule.threshold} signers: ${signers.join(", ") || "none"}`,
    },
    ...said.findings,
  ];
  const refused = rules.some(({ id, result }) => id !== "signature" && result !== "passed");
  const [first] = counted;
  const base = first && { bundle: first.bundle, manifest: first.manifest, trust };
  const verdict = refused ? "refused" : "accepted";
  return { verdict, model, signers, rules, statements: said.present, ...(base ? { base } : {}) };
}

/** The same question for who cannot go on without a yes. Throws SIGNER_POLICY_REFUSED. */
export function requirePolicy(
  policy: SignerPolicy,
  question: PolicyQuestion,
): PolicyVerdict & { base: NonNullable<PolicyVerdict["base"]> } {
  const verdict = judgeByPolicy(policy, question);
  const { base, rules, model } = verdict;
  if (verdict.verdict === "accepted" && base) return { ...verdict, base };
  const failed = rules.filter(({ result }) => result !== "passed").map(({ id, message }) => `${id}: ${message}`);
  throw signingError("SIGNER_POLICY_REFUSED", { detail: `${model}: ${failed.join("; ").slice(0, 2_000)}` });
}

function trustOf(policy: SignerPolicy, { signers }: PolicyRule, { atMs, keys = [] }: PolicyQuestion): Trust {
  const { verifier, revocation, timestampAuthorities: anchors } = policy;
  const named = new Set(signers.flatMap(({ keyIds }) => keyIds));
  const identities = signers.flatMap(({ identities: members }) => members);
  return {
    publicKeys: [...signers.flatMap((signer) => signer.keys), ...keys.filter(({ keyId }) => named.has(keyId))],
    authorities: { members: signers.flatMap(({ authorities }) => authorities), atMs },
    ...(verifier ? { identities: { members: identities, verifier } } : {}),
    ...(anchors.length > 0 ? { timestamps: { anchors, atMs } } : {}),
    ...(revocation ? { revocation } : {}),
  };
}

/** A signature that does not count is told and harms nothing; the first that counts says what the others must sign. */
function countSignatures(rule: PolicyRule, trust: Trust, question: PolicyQuestion) {
  const { signatures } = question;
  const own = signatureFiles([...signatures, ...question.statements]);
  const sealed = question.sealed && signatures[0] ? sealedManifest(signatures[0].bytes) : undefined;
  const counted: Counted[] = [];
  const findings: PolicyFinding[] = [];
  const unjudged: ModelkeepError[] = [];
  const tell = (name: string, result: PolicyFinding["result"], message: string) =>
    findings.push({ id: "signature", result, message: `${name}: ${message}` });
  for (const [index, { name, bytes }] of signatures.entries()) {
    try {
      const manifest = verifyBundle(bytes, trust);
      const signer = rule.signers.find((one) => isSigner(one, manifest.signer));
      const base = counted[0]?.manifest ?? (index > 0 ? sealed?.() : undefined) ?? manifest;
      if (!signer) tell(name, "failed", "it is of none of the rule's signers");
      else if (!isSameModel(base, manifest, own)) tell(name, "failed", `${signer.name} signed another model`);
      else {
        counted.push({ signer, bundle: bytes, manifest });
        tell(name, "passed", signer.name);
      }
    } catch (error) {
      if (!(error instanceof ModelkeepError)) throw error;
      const judged = error.exit === EXIT.verificationFailed;
      if (!judged) unjudged.push(error);
      tell(name, judged ? "failed" : "unchecked", error.message);
    }
  }
  if (unjudged[0] && unjudged.length === signatures.length) throw unjudged[0];
  return { counted, findings };
}

/** Read only when it does not count itself; who signed it is for the caller, who uses it. */
function sealedManifest(bundle: Uint8Array | string): () => Manifest {
  let read: Manifest | undefined;
  return () => {
    read ??= readSignedManifest(bundle);
    return read;
  };
}

function isSigner({ keyIds, authorities, identities }: PolicySigner, signer: SignerIdentity): boolean {
  if (signer.method === "key") return keyIds.includes(signer.keyId);
  if (signer.method === "keyless")
    return identities.some(({ identity, issuer }) => identity === signer.identity && issuer === signer.issuer);
  return authorities.some(
    ({ anchor, subject }) =>
      anchor.sha256 === signer.caDigest && (subject === signer.subject || signer.alternativeNames.includes(subject)),
  );
}

/** The files of a signature itself, which each signer leaves out in its own way. */
const SIGNATURE_FILE = /^[^/]+\.sig(\.d\/[^/]+\.(sig|json))?$/;

/** Those that are here; without names of files, as in a server, whatever looks like one. */
function signatureFiles(given: readonly NamedBytes[]): (path: string) => boolean {
  const here = new Set(given.flatMap(({ name }) => (SIGNATURE_FILE.test(name) ? [name] : [])));
  return (path) => (here.size > 0 ? here.has(path) : SIGNATURE_FILE.test(path));
}

/**
 * The root digest does not hold the names, so names and digests are compared one by one. What the first signer left
 * out, the others must have left out knowingly.
 */
function isSameModel(base: Manifest, other: Manifest, own: (path: string) => boolean): boolean {
  if (base === other) return true;
  const { serialization: ours } = base;
  const { serialization: theirs } = other;
  const sameForm = ours.method === theirs.method && ours.hashType === theirs.hashType;
  if (!sameForm || base.rootDigest !== other.rootDigest || base.resources.length !== other.resources.length)
    return false;
  const digests = new Map(other.resources.map(({ name, digest }) => [name, digest]));
  const leftOut = ours.ignorePaths.filter((path) => !own(path));
  return (
    base.resources.every(({ name, digest }) => digests.get(name) === digest) &&
    leftOut.every((path) => theirs.ignorePaths.includes(path))
  );
}

/** Two names that signed with one key are one signer, and so is whoever is tied to them by another shared key. */
function distinctSigners(counted: readonly Counted[]): number {
  const groups: { names: Set<string>; keys: Set<string> }[] = [];
  for (const { signer, manifest } of counted) {
    const merged = { names: new Set([signer.name]), keys: new Set([manifest.keyId]) };
    const tied = groups.filter(({ names, keys }) => names.has(signer.name) || keys.has(manifest.keyId));
    for (const group of tied) {
      for (const name of group.names) merged.names.add(name);
      for (const key of group.keys) merged.keys.add(key);
      groups.splice(groups.indexOf(group), 1);
    }
    groups.push(merged);
  }
  return groups.length;
}

/** Those who signed the model may speak about it, and so may every key that the rule names. */
function judgeStatements(
  rule: PolicyRule,
  counted: readonly Counted[],
  { statements, required = [], promised = [] }: PolicyQuestion,
): { readonly findings: readonly PolicyFinding[]; readonly present: readonly StatementType[] } {
  const manifest = counted[0]?.manifest;
  if (!manifest)
    return { findings: [{ id: "statements", result: "unchecked", message: "no signature counts" }], present: [] };
  const keys = [...counted.map((one) => one.manifest.signerKey), ...rule.signers.flatMap((signer) => signer.keys)];
  const needed = [...rule.require, ...required].filter((type) => !promised.includes(type));
  const { present, findings } = checkStatements(statements, {
    rootDigest: manifest.rootDigest,
    keys,
    required: [...new Set(needed)],
  });
  const told = present.join(", ") || "none required";
  if (findings.length === 0) return { findings: [{ id: "statements", result: "passed", message: told }], present };
  const faults = findings.map(
    ({ path, message }): PolicyFinding => ({
      id: "statements",
      result: "failed",
      message: `${path}: ${message}`,
    }),
  );
  return { findings: faults, present };
}
