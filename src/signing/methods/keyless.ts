/** The method "keyless": an identity that an issuer vouched for, proven by a public log, compared in every character. */
import type { DsseEnvelope } from "../../codec/index.ts";
import { signingError } from "../errors.ts";
import type { SignedPayload } from "../signer.ts";
import type { Trust } from "../trust.ts";

export function verifyKeyless(envelope: DsseEnvelope, json: object, { identities }: Trust): SignedPayload {
  if (!identities || identities.members.length === 0) {
    throw signingError("SIGNER_NOT_TRUSTED", {
      detail: "a keyless signature, and no identity is trusted",
      hint: "name who may sign with --identity and --issuer",
    });
  }
  const { identity, issuer, key } = identities.verifier.prove(json);
  if (!identities.members.some((member) => member.identity === identity && member.issuer === issuer)) {
    throw signingError("SIGNER_NOT_TRUSTED", {
      detail: `${JSON.stringify(identity.slice(0, 200))} by ${JSON.stringify(issuer.slice(0, 200))}`,
      hint: "name the identity and its issuer exactly, with --identity and --issuer",
    });
  }
  return { payload: envelope.payload, signerKey: key, signer: { method: "keyless", identity, issuer } };
}
