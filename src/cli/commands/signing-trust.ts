/** Options of the command line that say who may have signed a model, and with what it is signed. */
import { resolve } from "node:path";
import { readFileBounded } from "../../host/index.ts";
import {
  type ModelSigner,
  SIGNING_LIMITS,
  type SignerIdentity,
  type Trust,
  trustAuthorities,
  trustIdentities,
  trustKeys,
  withCertificates,
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
];

/** Exactly one of key, authority or identity. Throws USAGE for none, for two, and for what belongs to another one. */
export async function readTrust(context: CommandContext, input: CommandInput): Promise<Trust> {
  const kinds = ["--public-key", "--ca", "--identity"].filter((flag) => input.all(flag).length > 0);
  if (kinds.length !== 1)
    throw cliError("USAGE", {
      detail: "name who may have signed: one of --public-key, --ca or --identity with --issuer",
    });
  for (const [flag, kind] of Object.entries(BELONGS_TO))
    if (input.all(flag).length > 0 && kind !== kinds[0])
      throw cliError("USAGE", { detail: `${flag} belongs to ${kind}` });
  if (kinds[0] === "--ca") return readAuthorities(context, input);
  if (kinds[0] === "--identity") return readIdentity(context, input);
  return trustKeys(await Promise.all(input.all("--public-key").map((path) => readPem(context, path))));
}

const BELONGS_TO: Readonly<Record<string, string>> = {
  "--subject": "--ca",
  "--at": "--ca",
  "--issuer": "--identity",
  "--trusted-root": "--identity",
};

async function readAuthorities(context: CommandContext, input: CommandInput): Promise<Trust> {
  const subject = input.text("--subject");
  if (subject === "") throw cliError("USAGE", { detail: "--subject is empty" });
  const pems = await Promise.all(input.all("--ca").map((path) => readPem(context, path)));
  return trustAuthorities(
    pems.map((pem) => ({ pem, subject })),
    timeOf(input.text("--at")) ?? context.clock.now(),
  );
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

/** The signer with its certificate, when one is named. */
export async function readCertificates(
  context: CommandContext,
  input: CommandInput,
  signer: ModelSigner,
): Promise<ModelSigner> {
  const path = input.text("--certificate");
  const chain = input.text("--chain");
  if (path === undefined && chain !== undefined)
    throw cliError("USAGE", { detail: "--chain belongs to --certificate" });
  if (path === undefined) return signer;
  const certificate = await readPem(context, path);
  const files = chain === undefined ? { certificate } : { certificate, chain: await readPem(context, chain) };
  return withCertificates(signer, files, context.clock.now());
}

export function signerData(signer: SignerIdentity): Record<string, unknown> {
  if (signer.method === "key") return { method: signer.method, key_id: signer.keyId };
  if (signer.method === "keyless") return { ...signer };
  const { method, subject, alternativeNames, caDigest } = signer;
  return { method, subject, alternative_names: alternativeNames, ca_digest: caDigest };
}

/** One line for people, with control characters visible. */
export function signerText(signer: SignerIdentity): string {
  const visible = (text: string) => JSON.stringify(text).slice(1, -1);
  if (signer.method === "key") return `key ${signer.keyId}`;
  if (signer.method === "keyless") return `${visible(signer.identity)}, vouched for by ${visible(signer.issuer)}`;
  return `${visible(signer.subject || signer.alternativeNames.join(", "))}, under the authority ${signer.caDigest}`;
}
