/** Who signed the collateral: signatures and issuers, everything that does not depend on the date of a document. */
import { equalBytes } from "../../base/index.ts";
import { type Certificate, type Crl, checkCrl, parseCrl } from "../../codec/index.ts";
import { Rules } from "../verdict.ts";
import type { DcapCache } from "./cache.ts";
import { appendRules, attempt, checkSigner, keyOf, type PckChain, type Trust, validityOf } from "./certificates.ts";
import { type Collateral, digestCollateral, type SignedDocument } from "./collateral.ts";
import { keepRead } from "./kept.ts";
import { verifyRawSignature } from "./signatures.ts";

export interface TrustedCollateral {
  /** Signers of TCB info and of the identity, once each. */
  readonly signers: readonly Certificate[];
  /** Present when they could be read. */
  readonly rootCrl?: Crl;
  readonly pckCrl?: Crl;
}

interface Remembered {
  readonly trusted: TrustedCollateral;
  readonly list: Rules["list"];
}

/**
 * The same bytes under the same authority and root are looked at once; the rules are in the verdict every time. Both
 * certificates come from the quote, and the lists are judged by their keys: another root is another answer.
 */
export function checkCollateral(
  rules: Rules,
  collateral: Collateral,
  machine: PckChain | undefined,
  trust: Trust,
  cache: DcapCache | undefined,
): TrustedCollateral {
  const digest = cache ? digestCollateral(collateral) : "";
  const key = keyOf("collateral", trust.anchors, digest, machine?.authority.sha256 ?? "", machine?.root.sha256 ?? "");
  const known = cache?.recall(key, trust.now) as Remembered | undefined;
  const own = new Rules();
  const trusted = known?.trusted ?? judgeCollateral(own, collateral, machine, trust);
  const list = known?.list ?? own.list;
  appendRules(rules, list);
  if (!known && machine && own.verdict === "accepted")
    cache?.remember(key, { trusted, list }, validityOf([...trusted.signers, machine.authority, machine.root]));
  return trusted;
}

function judgeCollateral(
  rules: Rules,
  collateral: Collateral,
  machine: PckChain | undefined,
  trust: Trust,
): TrustedCollateral {
  const tcbSigner = checkDocument(rules, "dcap.tcb-info", collateral.tcbInfo, trust);
  const isKnown = rules.verdict === "accepted" && sameChain(collateral.tcbInfo.chain, collateral.qeIdentity.chain);
  const same = isKnown ? tcbSigner : undefined;
  const qeSigner = checkDocument(rules, "dcap.qe-identity", collateral.qeIdentity, trust, same);
  const root = machine?.root ?? tcbSigner?.[1];
  const rootCrl = checkList(rules, "dcap.root-crl", collateral.rootCrl, root);
  const pckCrl = checkList(rules, "dcap.pck-crl", collateral.pckCrl, machine?.authority);
  const signers = [tcbSigner?.[0], qeSigner?.[0]].filter((signer) => signer !== undefined);
  return {
    signers: [...new Map(signers.map((signer) => [signer.sha256, signer])).values()],
    ...(rootCrl ? { rootCrl } : {}),
    ...(pckCrl ? { pckCrl } : {}),
  };
}

type Signer = readonly [Certificate, Certificate];

function checkDocument(
  rules: Rules,
  id: string,
  document: SignedDocument<unknown>,
  trust: Trust,
  known?: Signer,
): Signer | undefined {
  const signer = known ?? checkSigner(rules, `${id}.signer`, document.chain, trust);
  if (known) rules.pass(`${id}.signer`, "The signer is the same as that of the TCB info.");
  const signed = signer !== undefined && verifyRawSignature(document.bytes, document.signature, signer[0].publicKey);
  rules.check(`${id}.signature`, signed, {
    passed: "The signature covers the bytes as they were received.",
    failed: "The document was changed after it was signed, or another key signed it.",
  });
  return signer;
}

function sameChain(one: readonly Uint8Array[], other: readonly Uint8Array[]): boolean {
  return (
    one.length > 0 &&
    one.length === other.length &&
    one.every((der, index) => equalBytes(der, other[index] ?? new Uint8Array()))
  );
}

const readCrl = keepRead(parseCrl);

/** Issuer and signature of a list; whether it is fresh is looked at with every use. */
function checkList(
  rules: Rules,
  id: string,
  der: Uint8Array | undefined,
  issuer: Certificate | undefined,
): Crl | undefined {
  if (!der) return undefined;
  const crl = attempt(rules, `${id}.format`, () => readCrl(der));
  if (!crl) return undefined;
  const result = issuer && checkCrl({ crl, issuer, now: crl.thisUpdate, requireIdentifiers: true });
  rules.check(`${id}.issuer`, result?.ok === true && crl.scope === "all", {
    passed: "The authority whose certificates it is about signed the list.",
    failed: "The list is not signed by the authority whose certificates it should be about: fetch the right one.",
    have: result?.ok === false ? result.rule : issuer ? "signed" : "no certificate of the authority",
    need: "signed by the issuer",
  });
  return crl;
}
