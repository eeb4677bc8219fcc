/** The chains that Intel's root certifies: the machine's own in the quote, and those of the signers of collateral. */
import { createHash } from "node:crypto";
import { ModelkeepError } from "../../base/index.ts";
import { type Certificate, checkChain, nameToText, parseCertificate } from "../../codec/index.ts";
import { Rules } from "../verdict.ts";
import type { DcapCache } from "./cache.ts";
import { readChain } from "./collateral.ts";
import type { Certification } from "./evidence.ts";
import { DCAP_LIMITS } from "./limits.ts";
import { type PckExtension, readPckExtension } from "./pck.ts";

/** SHA-256 of the DER of "Intel SGX Root CA": everything here ends at it. */
export const INTEL_SGX_ROOT_SHA256 = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";

const PCK_NAME = "Intel SGX PCK Certificate";
const AUTHORITIES: ReadonlyMap<string, "platform" | "processor"> = new Map([
  ["Intel SGX PCK Platform CA", "platform"],
  ["Intel SGX PCK Processor CA", "processor"],
]);
const SIGNER_NAME = "Intel SGX TCB Signing";
const PEM_CHAIN = 5;

export interface Trust {
  /** SHA-256 of root certificates, lower-case hex. */
  readonly anchors: readonly string[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface PckChain {
  readonly pck: Certificate;
  readonly authority: Certificate;
  readonly root: Certificate;
  readonly extension: PckExtension;
}

/** By the common name of its certificate. */
export const authorityOfName = (name: string | undefined) => AUTHORITIES.get(name ?? "");

const nameOf = (certificate: Certificate) => certificate.subject.commonName ?? "";

/** Runs what may throw; a refusal or a certificate that cannot be read becomes a failed rule. */
export function attempt<T>(rules: Rules, id: string, work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof ModelkeepError)) throw error;
    const rule = typeof error.extra?.rule === "string" ? error.extra.rule : id;
    rules.fail(rule, `This cannot be read: ${error.title}.`, error.detail === undefined ? {} : { have: error.detail });
    return undefined;
  }
}

/** Copies rules that were collected apart. */
export function appendRules(rules: Rules, list: Rules["list"]): void {
  for (const { id, result, message, ...facts } of list) {
    if (result === "passed") rules.pass(id, message, facts);
    else if (result === "failed") rules.fail(id, message, facts);
    else rules.skip(id, message, facts);
  }
}

/** The machine's chain: certificate, one of two authorities, root. What could be read is returned though a rule failed. */
export function checkPckChain(
  rules: Rules,
  certification: Certification,
  trust: Trust,
  cache: DcapCache | undefined,
): PckChain | undefined {
  if (certification.type !== PEM_CHAIN) {
    rules.fail("dcap.pck.chain", "The quote carries no certificate chain: have the machine's agent put it in.", {
      have: `certification data of type ${certification.type}`,
      need: `type ${PEM_CHAIN}`,
    });
    return undefined;
  }
  const key = keyOf("pck", trust.anchors, createHash("sha256").update(certification.data).digest("hex"));
  const known = cache?.recall(key, trust.now) as { chain: PckChain; list: Rules["list"] } | undefined;
  if (known) appendRules(rules, known.list);
  if (known) return known.chain;
  const own = new Rules();
  const chain = judgePckChain(own, certification, trust);
  appendRules(rules, own.list);
  if (chain && own.verdict === "accepted")
    cache?.remember(key, { chain, list: own.list }, validityOf([chain.pck, chain.authority, chain.root]));
  return chain;
}

function judgePckChain(rules: Rules, certification: Certification, trust: Trust): PckChain | undefined {
  const text = Buffer.from(certification.data).toString("latin1");
  const certificates = attempt(rules, "dcap.pck.chain", () => readChain(text).map((der) => parseCertificate(der)));
  if (!certificates) return undefined;
  const [pck, authority, root, ...more] = certificates;
  if (!pck || !authority || !root || more.length > 0) {
    rules.fail("dcap.pck.chain", "The chain is not of a machine's certificate, an authority and the root.", {
      have: `${certificates.length} certificates`,
      need: "3 certificates",
    });
    return undefined;
  }
  judgePath(rules, "dcap.pck.chain", pck, [authority, root], trust, 3);
  const named = nameOf(pck) === PCK_NAME && AUTHORITIES.has(nameOf(authority));
  rules.check("dcap.pck.names", named, {
    passed: "The certificates are a machine's and one of its authorities'.",
    failed: "The certificates are Intel's, perhaps, but not those of a machine and its authority.",
    have: `${nameToText(pck.subject)} by ${nameToText(authority.subject)}`,
    need: `${PCK_NAME} by ${[...AUTHORITIES.keys()].join(" or ")}`,
  });
  const extension = attempt(rules, "dcap.pck.extension", () => readPckExtension(pck));
  if (!extension) return undefined;
  rules.pass("dcap.pck.extension", "The machine's certificate names its platform and security versions.");
  return { pck, authority, root, extension };
}

/** Who signs TCB info and identities. Undefined when the chain cannot be read; otherwise also when a rule failed. */
export function checkSigner(
  rules: Rules,
  id: string,
  chain: readonly Uint8Array[],
  trust: Trust,
): readonly [signer: Certificate, root: Certificate] | undefined {
  const certificates = attempt(rules, id, () => chain.map((der) => parseCertificate(der)));
  if (!certificates) return undefined;
  const [signer, root, ...more] = certificates;
  if (!signer || !root || more.length > 0) {
    rules.fail(id, "The collateral came without the chain of its signer: fetch it again with its headers.", {
      have: `${certificates.length} certificates`,
      need: "2 certificates",
    });
    return undefined;
  }
  judgePath(rules, id, signer, [root], trust, 2);
  rules.check(`${id}.name`, nameOf(signer) === SIGNER_NAME, {
    passed: "The signer is Intel's signer of collateral.",
    failed: "The signer is not Intel's signer of collateral.",
    have: nameToText(signer.subject),
    need: SIGNER_NAME,
  });
  return [signer, root];
}

function judgePath(
  rules: Rules,
  id: string,
  leaf: Certificate,
  intermediates: readonly Certificate[],
  { anchors, now }: Trust,
  maxDepth: number,
): void {
  const result = checkChain({
    leaf,
    intermediates,
    anchors: anchors.map((sha256) => ({ sha256 })),
    now,
    maxDepth: Math.min(maxDepth, DCAP_LIMITS.chainCertificates),
    leafRules: { keyUsage: ["digitalSignature"], endEntity: true },
  });
  const facts = result.ok ? {} : { have: `${result.rule}: ${result.certificate}` };
  rules.check(id, result.ok, {
    passed: "The chain ends at Intel's root, and all of it is valid now.",
    failed: "The chain does not end at Intel's root, or a certificate in it is not valid now.",
    ...facts,
    need: "a chain to the pinned root",
  });
}

/** The time in which all of them are valid. */
export function validityOf(certificates: readonly Certificate[]): { notBefore: number; notAfter: number } {
  return {
    notBefore: Math.max(...certificates.map(({ notBefore }) => notBefore)),
    notAfter: Math.min(...certificates.map(({ notAfter }) => notAfter)),
  };
}

export function keyOf(kind: string, anchors: readonly string[], ...digests: readonly string[]): string {
  return [kind, ...anchors, "", ...digests].join(" ");
}
