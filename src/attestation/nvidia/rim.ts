/** Reference integrity manifests: TCG SWID tags that NVIDIA signs. Read only from the bytes that the signature covers. */
import { createHash } from "node:crypto";
import { fromHex } from "../../base/index.ts";
import {
  attributeOf,
  type Certificate,
  childElements,
  nameToText,
  type VerifiedPath,
  verifyEnvelopedSignature,
  type XmlElement,
} from "../../codec/index.ts";
import { evidenceRefused, refusedRule } from "../errors.ts";
import { Rules, type Verdict } from "../verdict.ts";
import { NVIDIA_RIM_ANCHORS } from "./anchors.ts";
import { findPath, type NvidiaCache } from "./cache.ts";
import { NVIDIA_LIMITS } from "./limits.ts";
import type { NvidiaProfile } from "./profile.ts";
import { checkRevocation, type OcspAnswers } from "./revocation.ts";
import { MEASUREMENT_BYTES } from "./spdm.ts";

const SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const SHA384 = "http://www.w3.org/2001/04/xmlenc#sha384";

export interface RimMeasurement {
  /** From 0; the device's block of the same measurement has the next number. */
  readonly index: number;
  readonly active: boolean;
  /** Any of them is right; 48 bytes each. */
  readonly values: readonly Uint8Array[];
}

export interface Rim {
  /** SHA-256 of the XML, lower-case hex. */
  readonly sha256: string;
  /** For example `GH100`. */
  readonly product: string;
  /** Of the driver or VBIOS that it is for. */
  readonly version: string;
  readonly measurements: readonly RimMeasurement[];
  /** The signer first; whether to trust it is for checkRimChain to say. */
  readonly certificates: readonly [Certificate, ...Certificate[]];
}

/**
 * Reads a manifest and checks that the key of its first certificate signed all of it. Throws EVIDENCE_REFUSED
 * `nvidia.rim.signature` or `nvidia.rim.format`.
 */
export function parseRim(xml: Uint8Array, cache?: NvidiaCache): Rim {
  if (xml.length > NVIDIA_LIMITS.rimBytes) throw malformed(`${xml.length} bytes`);
  const sha256 = cache?.digests.get(xml) ?? createHash("sha256").update(xml).digest("hex");
  cache?.digests.set(xml, sha256);
  const known = cache?.rims.get(sha256);
  if (known) return known;
  const signed = verifySignature(xml);
  const rim = { sha256, certificates: signed.certificates, ...readTag(signed.root) };
  cache?.rims.set(sha256, rim);
  return rim;
}

export function tryReadRim(xml: Uint8Array, cache?: NvidiaCache): Rim | undefined {
  try {
    return parseRim(xml, cache);
  } catch (error) {
    if (refusedRule(error) === undefined) throw error;
    return undefined;
  }
}

export interface RimNeeds {
  readonly profile: NvidiaProfile;
  /** Milliseconds. */
  readonly now: number;
  /** SHA-256 of DER, hex; default: NVIDIA's root for manifests. */
  readonly anchors?: readonly string[];
  readonly cache?: NvidiaCache;
}

export interface RimRequest extends RimNeeds {
  /** Of which those about the signer's chain count; absent: the rule stays unchecked, whatever the profile says. */
  readonly answers?: OcspAnswers;
}

/** Pure but for the cache. A verdict on one manifest alone. */
export function verifyRim(xml: Uint8Array, needs: RimRequest): Verdict<Rim> {
  const rules = new Rules();
  const rim = tryReadRim(xml, needs.cache);
  rules.check("nvidia.rim.signature", rim !== undefined, {
    passed: "the manifest is signed",
    failed: "the manifest is damaged, or its signature is not right",
  });
  const path = rim && checkRimChain(rules, rim, needs);
  const { answers, profile, now } = needs;
  const rule = "nvidia.rim.revocation";
  if (answers && rim) checkRevocation(rules, { rule, path, firstRequired: 0, answers, profile, now });
  else rules.skip(rule, "nobody was asked whether a certificate is revoked");
  return { verdict: rules.verdict, rules: rules.list, advisories: [], ...(rim ? { claims: rim } : {}) };
}

/** The path from the signer to the pin; undefined when there is none that holds at `now`. */
export function checkRimChain(rules: Rules, rim: Rim, needs: RimNeeds): VerifiedPath | undefined {
  const { certificates } = rim;
  const [leaf] = certificates;
  const { anchors = NVIDIA_RIM_ANCHORS, profile, cache } = needs;
  const expired = profile.allow_expired_rim && needs.now > leaf.notAfter;
  const result = findPath({ certificates, anchors, now: expired ? leaf.notAfter : needs.now, cache });
  rules.check("nvidia.rim.chain", result.ok, {
    passed: expired ? "the signer has expired since, which the profile accepts" : "the signer chains to NVIDIA's root",
    failed: result.ok ? "" : `the signer's chain fails: ${result.rule} at ${result.certificate}`,
    have: nameToText(leaf.subject),
  });
  return result.ok ? result.path : undefined;
}

function verifySignature(xml: Uint8Array) {
  let result: ReturnType<typeof verifyEnvelopedSignature>;
  try {
    result = verifyEnvelopedSignature(xml);
  } catch (error) {
    throw evidenceRefused("nvidia.rim.signature", error);
  }
  if (!result.ok) throw evidenceRefused("nvidia.rim.signature", new Error(result.rule));
  if (result.certificates.length > NVIDIA_LIMITS.chainCertificates) throw malformed("too many certificates");
  return result;
}

function readTag(root: XmlElement): Pick<Rim, "product" | "version" | "measurements"> {
  if (root.namespace !== SWID || root.local !== "SoftwareIdentity") throw malformed("not a SWID tag");
  const meta = onlyChild(root, "Meta");
  const resources = childElements(onlyChild(root, "Payload"));
  if (resources.length > NVIDIA_LIMITS.rimMeasurements) throw malformed(`${resources.length} measurements`);
  const measurements = resources
    .filter((one) => one.local === "Resource" && one.namespace === SWID && attributeOf(one, "type") === "Measurement")
    .map(readMeasurement);
  if (measurements.length !== resources.length) throw malformed("something other than measurements");
  if (new Set(measurements.map(({ index }) => index)).size !== measurements.length) throw malformed("an index twice");
  return { product: textOf(meta, "product"), version: textOf(meta, "colloquialVersion"), measurements };
}

function onlyChild(root: XmlElement, local: string): XmlElement {
  const [child, ...more] = childElements(root).filter((one) => one.local === local && one.namespace === SWID);
  if (!child || more.length > 0) throw malformed(`not one ${local}`);
  return child;
}

function textOf(element: XmlElement, name: string): string {
  const value = attributeOf(element, name);
  if (!value || value.length > 64) throw malformed(name);
  return value;
}

function readMeasurement(resource: XmlElement): RimMeasurement {
  const number = (name: string) => {
    const text = attributeOf(resource, name) ?? "";
    if (!/^[0-9]{1,3}$/.test(text)) throw malformed(`${name} of a measurement`);
    return Number(text);
  };
  const index = number("index");
  const active = /^(?:(true)|false)$/i.exec(attributeOf(resource, "active") ?? "");
  const hashes = resource.attributes.filter(({ namespace }) => namespace === SHA384);
  if (!active || number("size") !== MEASUREMENT_BYTES) throw malformed(`measurement ${index}`);
  const count = number("alternatives");
  if (count === 0 || count > NVIDIA_LIMITS.rimAlternatives || hashes.length !== count) {
    throw malformed(`alternatives of measurement ${index}`);
  }
  const values = Array.from({ length: count }, (_, i) => readHash(hashes.find(({ local }) => local === `Hash${i}`)));
  return { index, active: active[1] !== undefined, values };
}

function readHash(attribute: { readonly value: string } | undefined): Uint8Array {
  const bytes = fromHex(attribute?.value ?? "");
  if (bytes?.length !== MEASUREMENT_BYTES) throw malformed("a hash");
  return bytes;
}

function malformed(place: string): Error {
  return evidenceRefused("nvidia.rim.format", new Error(place));
}
