/** What a keyless certificate says: one identity, and who vouched for it (Fulcio's certificate specification). */
import { type Certificate, DER_TAG, derString, OID, parseDer } from "../../codec/index.ts";
import { signingError } from "../errors.ts";
import type { KeylessProof } from "../trust.ts";
import { keyOf } from "./material.ts";

/** The issuer as raw text, and as a UTF8String since the second version. */
const ISSUER_V1 = "1.3.6.1.4.1.57264.1.1";
const ISSUER_V2 = "1.3.6.1.4.1.57264.1.8";

/** What a leaf says whose chain was checked. Throws CERTIFICATE_NOT_TRUSTED for one that is not for signing code. */
export function proofOf(leaf: Certificate): KeylessProof {
  const { keyUsage, extendedKeyUsage, unknownCritical } = leaf;
  if (unknownCritical.length > 0)
    throw signingError("CERTIFICATE_NOT_TRUSTED", { detail: `unknown critical extension ${unknownCritical[0]}` });
  if (!extendedKeyUsage?.includes(OID.codeSigning) || keyUsage?.has("digitalSignature") !== true)
    throw signingError("CERTIFICATE_NOT_TRUSTED", { detail: "it is not for signing code" });
  return { identity: identityOf(leaf), issuer: issuerOf(leaf), key: keyOf(leaf) };
}

function identityOf({ subjectAltNames = [] }: Certificate): string {
  const [only, ...more] = subjectAltNames;
  if (!only || more.length > 0 || (only.kind !== "email" && only.kind !== "uri"))
    throw signingError("CERTIFICATE_NOT_TRUSTED", { detail: "it does not hold one mail address or URI" });
  return only.value;
}

function issuerOf({ extensions }: Certificate): string {
  const first = extensions.get(ISSUER_V1)?.value;
  const second = extensions.get(ISSUER_V2)?.value;
  const found = new Set([...(first ? [Buffer.from(first).toString("utf8")] : []), ...(second ? [utf8Of(second)] : [])]);
  const [only, ...more] = found;
  if (!only || more.length > 0)
    throw signingError("CERTIFICATE_NOT_TRUSTED", { detail: "it does not hold one issuer" });
  return only;
}

function utf8Of(value: Uint8Array): string {
  const node = parseDer(value);
  if (node.tag.number !== DER_TAG.utf8String)
    throw signingError("CERTIFICATE_NOT_TRUSTED", { detail: "the form of its issuer" });
  return derString(node);
}
