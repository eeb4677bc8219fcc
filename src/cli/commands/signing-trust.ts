/** Options of the command line that say who may have signed a model, and with what it is signed. */
import { resolve } from "node:path";
import { readFileBounded, systemFetch } from "../../host/index.ts";
import {
  type ModelSigner,
  readRevocationLists,
  SIGNING_LIMITS,
  type SignerIdentity,
  type Trust,
  type TrustedTime,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  trustTimestamps,
  withCertificates,
  withTimestamps,
} from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const TRUST_OPTIONS: readonly CommandOption[] = [
  { flag: "--public-key", value: "PEM", about: "a key you trust", repeatable: true },
  { flag: "--ca", value: "PEM", about: "an authority you trust; every certificate in it is one", repeatable: true },
  {
    flag: "--subject",
    value: "NAME",
    about: "with --ca: exactly who signed: CN=Signer,O=Example,C=US or email:a@b.c, uri:…, dns:…",
  },
  { flag: "--any-subject", about: "with --ca in place of --subject: whomever the authority issued a certificate to" },
  {
    flag: "--tsa",
    value: "PEM",
    about: "a timestamp authority you trust: what it stamped in time outlives its certificate",
    repeatable: true,
  },
  {
    flag: "--crl",
    value: "FILE",
    about: "with --ca: a list of revoked certificates; nothing is fetched",
    repeatable: true,
  },
  { flag: "--require-revocation-check", about: "with --ca: a list must be there for every certificate on the way" },
  { flag: "--identity", value: "NAME", about: "a keyless signer you trust: mail address or URI, exactly" },
  { flag: "--issuer", value: "URL", about: "with --identity: who vouches for it, exactly" },
  { flag: "--trusted-root", value: "FILE", about: "with --identity: of another Sigstore instance than the public one" },
  {
    flag: "--at",
    value: "TIME",
    about: "with --ca: when its certificates must be valid, for example 2026-01-31T12:00:00Z",
  },
];

export const SIGNER_OPTIONS: readonly CommandOption[] = [
  { flag: "--certificate", value: "PEM", about: "certificate of the key; the signature then carries it" },
  { flag: "--chain", value: "PEM", about: "with --certificate: what leads from it to the authority" },
  {
    flag: "--timestamp",
    value: "URL",
    about: "an authority that stamps the signature (RFC 3161), so that it outlives its certificate",
    repeatable: true,
  },
  { flag: "--timestamp-policy", value: "OID", about: "with --timestamp: the policy that it must be under" },
  {
    flag: "--tsa",
    value: "PEM",
    about: "with --timestamp: the authority that the stamp must lead to",
    repeatable: true,
  },
];

/** Exactly one of key, authority or identity. Throws USAGE for none, for two, and for what belongs to another one. */
export async function readTrust(
  context: CommandContext,
  input: CommandInput,
  keyFlag: "--public-key" | "--trust" = "--public-key",
): Promise<Trust> {
  const [kind = "", ...more] = [keyFlag, "--ca", "--identity"].filter((flag) => isGiven(input, flag));
  if (kind === "" || more.length > 0)
    throw cliError("USAGE", {
      detail: `name who may have signed: one of ${keyFlag}, --ca with --subject, or --identity with --issuer`,
    });
  const wrong = Object.entries(BELONGS_TO).find(([flag, ofKinds]) => isGiven(input, flag) && !ofKinds.includes(kind));
  if (wrong) throw cliError("USAGE", { detail: `${wrong[0]} belongs to ${wrong[1].join(" or ")}` });
  if (kind === "--identity") return readIdentity(context, input);
  const read = (flag: string) => Promise.all(input.all(flag).map((path) => readPem(context, path)));
  const trust = kind === "--ca" ? await readAuthorities(context, input) : trustKeys(await read(keyFlag));
  if (!isGiven(input, "--tsa")) return trust;
  return trustTimestamps(trust, await read("--tsa"), timeOf(input.text("--at")) ?? context.clock.now());
}

const isGiven = (input: CommandInput, flag: string) => input.on(flag) || input.all(flag).length > 0;

const BELONGS_TO: Readonly<Record<string, readonly string[]>> = {
  "--subject": ["--ca"],
  "--any-subject": ["--ca"],
  "--at": ["--ca"],
  "--crl": ["--ca"],
  "--require-revocation-check": ["--ca"],
  "--tsa": ["--ca", "--public-key", "--trust"],
  "--issuer": ["--identity"],
  "--trusted-root": ["--identity"],
};

async function readAuthorities(context: CommandContext, input: CommandInput): Promise<Trust> {
  const subject = input.text("--subject");
  if (subject === "") throw cliError("USAGE", { detail: "--subject is empty" });
  const anySubject = input.on("--any-subject");
  if ((subject === undefined) !== anySubject)
    throw cliError("USAGE", {
      detail: "an authority answers for many: say whose certificate it is, or --any-subject",
      hint: "--subject CN=Signer,O=Example,C=US, as openssl x509 -in signer.crt -noout -subject -nameopt RFC2253 prints it",
    });
  const pems = await Promise.all(input.all("--ca").map((path) => readPem(context, path)));
  const trust = trustAuthorities(
    pems.map((pem) => ({ pem, subject, anySubject })),
    timeOf(input.text("--at")) ?? context.clock.now(),
  );
  const lists = input.all("--crl").map((path) => readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.crlBytes));
  const required = input.on("--require-revocation-check");
  if (lists.length === 0 && !required) return trust;
  return { ...trust, revocation: { crls: readRevocationLists(await Promise.all(lists)), required } };
}

/** With its zone: a time without one would mean another moment on another machine. */
export function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw cliError("USAGE", { detail: `--at ${text}: write it like 2026-01-31T12:00:00Z` });
  return ms;
}

async function readIdentity(context: CommandContext, input: CommandInput): Promise<Trust> {
  const member = { identity: input.need("--identity"), issuer: input.need("--issuer") };
  const path = input.text("--trusted-root");
  const root = path && (await readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.trustedRootBytes));
  return trustIdentities([member], root || undefined);
}

/** Public keys and certificates. */
export function readPem(context: CommandContext, path: string): Promise<Uint8Array> {
  return readFileBounded(resolve(context.cwd, path), SIGNING_LIMITS.keyFileBytes);
}

/** The signer with its certificate and its timestamps, when they are named. */
export async function readCertificates(
  context: CommandContext,
  input: CommandInput,
  signer: ModelSigner,
): Promise<ModelSigner> {
  return readTimestamps(context, input, await certified(context, input, signer));
}

async function certified(context: CommandContext, input: CommandInput, signer: ModelSigner): Promise<ModelSigner> {
  const path = input.text("--certificate");
  const chain = input.text("--chain");
  if (path === undefined && chain !== undefined)
    throw cliError("USAGE", { detail: "--chain belongs to --certificate" });
  if (path === undefined) return signer;
  const certificate = await readPem(context, path);
  const files = chain === undefined ? { certificate } : { certificate, chain: await readPem(context, chain) };
  return withCertificates(signer, files, context.clock.now());
}

async function readTimestamps(context: CommandContext, input: CommandInput, signer: ModelSigner): Promise<ModelSigner> {
  const urls = input.all("--timestamp");
  const stray = ["--timestamp-policy", "--tsa"].find((flag) => isGiven(input, flag));
  if (urls.length === 0 && stray) throw cliError("USAGE", { detail: `${stray} belongs to --timestamp` });
  if (urls.length === 0) return signer;
  const pems = await Promise.all(input.all("--tsa").map((path) => readPem(context, path)));
  const { clock, random, signal } = context;
  const policy = input.text("--timestamp-policy");
  const options = { urls, policy, authorities: pems.length > 0 ? pems : undefined };
  return withTimestamps(signer, options, { fetch: systemFetch, clock, random, signal });
}

export function signerData(signer: SignerIdentity): Record<string, unknown> {
  if (signer.method === "key") return { method: signer.method, key_id: signer.keyId };
  if (signer.method === "keyless") return { ...signer };
  const { method, subject, alternativeNames, caDigest } = signer;
  return { method, subject, alternative_names: alternativeNames, ca_digest: caDigest };
}

export function seenData({ atMs, accuracyMs, authority }: TrustedTime): Record<string, unknown> {
  return { time: new Date(atMs).toISOString(), accuracy_ms: accuracyMs, authority };
}

export function seenText({ atMs, authority }: TrustedTime): string {
  return `seen at ${new Date(atMs).toISOString()} by ${JSON.stringify(authority).slice(1, -1)}`;
}

/** One line for people, with control characters visible. */
export function signerText(signer: SignerIdentity): string {
  const visible = (text: string) => JSON.stringify(text).slice(1, -1);
  if (signer.method === "key") return `key ${signer.keyId}`;
  if (signer.method === "keyless") return `${visible(signer.identity)}, vouched for by ${visible(signer.issuer)}`;
  return `${visible(signer.subject || signer.alternativeNames.join(", "))}, under the authority ${signer.caDigest}`;
}
