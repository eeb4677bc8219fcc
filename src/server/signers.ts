/** The signer policy of the configuration: asked when a model is registered, and again whenever its key is asked for. */
import { resolve } from "node:path";
import type { Clock } from "../base/index.ts";
import type { Publication } from "../contract/index.ts";
import { loadTrustedKey, type NamedBytes, readSignerPolicy, requirePolicy } from "../signing/index.ts";
import type { Config } from "./config.ts";

/** What of a publication is signed. */
export type SignedParts = Pick<Publication, "public_key" | "bundle" | "signatures" | "statements">;

export interface SignerCheck {
  /** The names of the signers that count; throws SIGNER_POLICY_REFUSED. */
  accept(ref: string, parts: SignedParts): readonly string[];
}

/** Throws SIGNER_POLICY_INVALID, so that a server whose policy cannot be read does not start. */
export async function openSignerCheck(
  { signer_policy: file }: Config,
  clock: Pick<Clock, "now">,
): Promise<SignerCheck | undefined> {
  if (file === undefined) return undefined;
  const policy = await readSignerPolicy(resolve(file));
  return {
    accept: (ref, parts) =>
      requirePolicy(policy, {
        model: ref,
        signatures: named("signature", [parts.bundle, ...(parts.signatures ?? [])]),
        statements: statementsOf(parts),
        keys: [loadTrustedKey(parts.public_key)],
        atMs: clock.now(),
      }).signers,
  };
}

function statementsOf({ statements }: SignedParts): NamedBytes[] {
  const { seal, bom, findings, more = [] } = statements;
  return [...named("statement", [seal, bom, findings]), ...named("further statement", more)];
}

function named(what: string, texts: readonly string[]): NamedBytes[] {
  return texts.map((bytes, index) => ({ name: `${what} ${index + 1}`, bytes }));
}
