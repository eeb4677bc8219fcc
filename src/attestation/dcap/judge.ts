/** From evidence to a verdict: finds the collateral that the quote needs, then judges. */
import { parseCertificate } from "../../codec/index.ts";
import type { AttestedClaims } from "../attestation.ts";
import { brandClaims } from "../claims.ts";
import { evidenceRefused } from "../errors.ts";
import type { SgxProfile } from "../sgx/profile.ts";
import type { TdxProfile } from "../tdx/profile.ts";
import { Rules, type Verdict } from "../verdict.ts";
import type { DcapCache } from "./cache.ts";
import { attempt, authorityOfName } from "./certificates.ts";
import { type Collateral, readChain } from "./collateral.ts";
import { parseQuote, type Tee } from "./evidence.ts";
import type { DcapEvidence } from "./evidence-json.ts";
import { readPckExtension } from "./pck.ts";
import { type ClaimsOf, verifyQuote } from "./verify.ts";

/** What collateral is kept under: nothing of it was verified. */
export interface CollateralRequest {
  readonly tee: Tee;
  /** Lower-case hex. */
  readonly fmspc: string;
  readonly authority: "platform" | "processor";
}

/** Finds collateral that was fetched or imported before; undefined when there is none for that platform. */
export type CollateralSource = (request: CollateralRequest) => Promise<Collateral | undefined>;

export interface DcapJudgeOptions<Profile extends TdxProfile | SgxProfile> {
  readonly profile: Profile;
  /** Asked first; what a machine brought along is used only where the source has nothing. */
  readonly collateral?: CollateralSource;
  readonly cache?: DcapCache;
  /** SHA-256 of other roots than Intel's, for tests with roots of their own. */
  readonly anchors?: readonly string[];
}

/** Throws EVIDENCE_REFUSED with `dcap.pck.chain` or a rule of the quote: what to ask a collateral source for. */
export function collateralRequest(quote: Uint8Array): CollateralRequest {
  const { header, certification } = parseQuote(quote);
  const rules = new Rules();
  const [pck] = readChain(Buffer.from(certification.data).toString("latin1"));
  const certificate = pck && attempt(rules, "dcap.pck.chain", () => parseCertificate(pck));
  const authority = certificate && authorityOfName(certificate.issuer.commonName);
  if (!certificate || !authority) throw evidenceRefused("dcap.pck.chain");
  return { tee: header.tee, fmspc: readPckExtension(certificate).fmspc, authority };
}

/** Never throws for what the evidence says. */
export async function judgeQuote<Profile extends TdxProfile | SgxProfile>(
  options: DcapJudgeOptions<Profile>,
  evidence: DcapEvidence,
  now: number,
  expectedReportData: Uint8Array | undefined,
): Promise<Verdict<ClaimsOf<Profile>>> {
  const rules = new Rules();
  const request = attempt(rules, "dcap.quote.format", () => collateralRequest(evidence.quote));
  const collateral = request && ((await options.collateral?.(request)) ?? evidence.collateral);
  if (request && !collateral)
    rules.fail("dcap.collateral.missing", "There is no collateral for this platform: fetch it from Intel or a cache.", {
      need: `${request.tee} ${request.fmspc} ${request.authority}`,
    });
  if (!collateral) return { verdict: rules.verdict, rules: rules.list, advisories: [] };
  const { profile, cache, anchors } = options;
  return verifyQuote<Profile>({
    quote: evidence.quote,
    collateral,
    profile,
    now,
    ...(evidence.events ? { events: evidence.events } : {}),
    ...(expectedReportData ? { expectedReportData } : {}),
    ...(cache ? { cache } : {}),
    ...(anchors ? { anchors } : {}),
  });
}

/** Throws EVIDENCE_REFUSED with the first failed rule. */
export function brandDcapClaims<Claims extends { readonly debug: boolean }>(
  kind: string,
  { verdict, rules, claims, tcbStatus, advisories }: Verdict<Claims>,
  reportData: Uint8Array,
  measure: (claims: Claims) => string,
): AttestedClaims {
  const failed = rules.find(({ result }) => result === "failed");
  if (failed) throw evidenceRefused(failed.id);
  if (verdict !== "accepted" || !claims) throw evidenceRefused("dcap.quote.format");
  const proven = { kind, measurement: measure(claims), debug: claims.debug, reportData: reportData.slice() };
  return brandClaims({ ...proven, advisories, ...(tcbStatus === undefined ? {} : { tcbStatus }) });
}
