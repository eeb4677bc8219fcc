/** The chain VCEK → ASK → ARK, or VLEK → ASVK → ARK: from what a guest brings to a pinned root, with its revocation list. */
import { type Certificate, type Crl, checkChain, checkCrl, isRevoked, parseCrl } from "../../codec/index.ts";
import { evidenceRefused } from "../errors.ts";
import type { Rules } from "../verdict.ts";
import { SNP_LIMITS } from "./limits.ts";
import type { SnpAnchors, SnpProduct } from "./products.ts";
import { type VekKind, vekKindOf } from "./vek.ts";

const CHAIN_LENGTH = 3;
const CA_KEY_BITS = 4096;
const ORGANIZATION = "2.5.4.10";

export interface ChainRequest {
  readonly leaf: Certificate;
  readonly certificates: readonly Certificate[];
  readonly anchors: SnpAnchors;
  readonly product: SnpProduct;
  readonly now: number;
}

/** Leaf first, root last; undefined when it does not hold. */
export function checkVekChain(rules: Rules, request: ChainRequest): readonly Certificate[] | undefined {
  const { leaf, certificates, anchors, product, now } = request;
  const result = checkChain({
    leaf,
    intermediates: certificates.filter((other) => vekKindOf(other) === undefined),
    anchors: anchors[product].map((sha256) => ({ sha256 })),
    now,
    maxDepth: CHAIN_LENGTH,
    leafRules: { endEntity: true },
  });
  if (!result.ok) {
    rules.fail(`snp.chain.${result.rule}`, "The key's certificate does not lead to AMD's root.", {
      have: result.certificate,
      need: `the root of ${product}`,
    });
    return undefined;
  }
  rules.pass("snp.chain", "The key's certificate leads to AMD's root, and every date holds.", { have: product });
  return checkChainProfile(rules, result.path, product) ? result.path : undefined;
}

/** What AMD's certificates have beyond what every chain has (AMD 57230). */
function checkChainProfile(rules: Rules, path: readonly Certificate[], product: SnpProduct): boolean {
  const [leaf, signer, root] = path;
  const kind = leaf && vekKindOf(leaf);
  if (!leaf || !signer || !root || !kind || path.length !== CHAIN_LENGTH) {
    rules.fail("snp.chain.profile", "The chain has another length.", { have: String(path.length), need: "3" });
    return false;
  }
  const wrong = [
    ...(signer.subject.commonName === signerName(kind, product) ? [] : ["the name of the signing key"]),
    ...(root.subject.commonName === `ARK-${product}` ? [] : ["the name of the root"]),
    ...(path.every(isOfAmd) ? [] : ["the organization"]),
    ...(path.every(hasAmdSignature) ? [] : ["a signature algorithm"]),
    ...([signer, root].every(hasCaKey) ? [] : ["a signing key"]),
    ...(isVekKey(leaf) ? [] : ["the key of the leaf"]),
  ];
  return rules.check("snp.chain.profile", wrong.length === 0, {
    passed: "Names, keys and algorithms are AMD's.",
    failed: "A certificate of the chain is not like AMD's.",
    ...(wrong.length === 0 ? {} : { have: wrong.join(", ") }),
  });
}

export const signerName = (kind: VekKind, product: SnpProduct): string =>
  kind === "VLEK" ? `SEV-VLEK-${product}` : `SEV-${product}`;

const isOfAmd = ({ subject }: Certificate): boolean =>
  subject.attributes.some(({ oid, value }) => oid === ORGANIZATION && value === "Advanced Micro Devices");

function hasAmdSignature({ signatureAlgorithm: algorithm }: Pick<Certificate, "signatureAlgorithm">): boolean {
  return algorithm.kind === "rsa-pss" && algorithm.hash === "sha384" && algorithm.saltBytes === 48;
}

const hasCaKey = ({ publicKey }: Certificate): boolean =>
  publicKey.asymmetricKeyType === "rsa" && publicKey.asymmetricKeyDetails?.modulusLength === CA_KEY_BITS;

const isVekKey = ({ publicKey }: Certificate): boolean => publicKey.asymmetricKeyDetails?.namedCurve === "secp384r1";

export interface CrlRequest {
  readonly path: readonly Certificate[];
  readonly crls: readonly Crl[];
  readonly requireCrl: boolean;
  readonly now: number;
}

/** AMD's list is signed by the root and names revoked ASK and ARK. Lists of other roots are passed over. */
export function checkRevocation(rules: Rules, { path, crls, requireCrl, now }: CrlRequest): readonly Crl[] {
  const root = path.at(-1);
  const own = root ? crls.filter(({ issuer }) => Buffer.compare(issuer.raw, root.subject.raw) === 0) : [];
  if (!root || own.length === 0) {
    const message = "There is no revocation list of this root: fetch it, or set require_crl to false.";
    if (requireCrl) rules.fail("snp.crl.present", message);
    else rules.skip("snp.crl.present", "There is no revocation list, and the profile does without.");
    return [];
  }
  for (const crl of own) {
    const state = checkCrl({ crl, issuer: root, now });
    if (crl.scope === "users") rules.fail("snp.crl.scope", "The revocation list is not about authorities.");
    else if (state.ok) rules.pass("snp.crl.valid", "The revocation list is the root's and current.");
    else rules.fail(`snp.crl.${state.rule}`, "The revocation list does not hold: fetch it again.");
  }
  const revoked = path.slice(1).find(({ serialNumber }) => own.some((crl) => isRevoked(crl, serialNumber)));
  rules.check("snp.crl.revoked", revoked === undefined, {
    passed: "No certificate above the key is revoked.",
    failed: "AMD has revoked a certificate of the chain.",
    ...(revoked ? { have: revoked.subject.commonName ?? revoked.serialHex } : {}),
  });
  return own;
}

/** Throws EVIDENCE_REFUSED with `snp.crl.format`. */
export function readCrls(crls: readonly (Uint8Array | Crl)[]): Crl[] {
  if (crls.length > SNP_LIMITS.crls) throw evidenceRefused("snp.crl.format");
  return crls.map((crl) => {
    if (!(crl instanceof Uint8Array)) return crl;
    if (crl.length > SNP_LIMITS.crlBytes) throw evidenceRefused("snp.crl.format");
    try {
      return parseCrl(crl);
    } catch (error) {
      throw evidenceRefused("snp.crl.format", error);
    }
  });
}
