/** Enveloped XML signatures (XML Signature 1.1) over the whole document: the one shape that cannot be wrapped. */
import { createHash, verify } from "node:crypto";
import { equalBytes, fromBase64 } from "../base/index.ts";
import { type C14nOptions, canonicalizeXml } from "./c14n.ts";
import { verifyRawEcdsa } from "./ecdsa.ts";
import { codecError } from "./errors.ts";
import { CODEC_LIMITS } from "./limits.ts";
import { type Certificate, parseCertificate } from "./x509.ts";
import type { SignatureHash } from "./x509-algorithm.ts";
import { attributeOf, childElements, parseXml, textOf, type XmlElement } from "./xml.ts";

export type XmlSignatureResult =
  | {
      readonly ok: true;
      /** Parsed from `signedBytes`: read from here and from nowhere else. */
      readonly root: XmlElement;
      /** The canonical bytes that were digested. */
      readonly signedBytes: Uint8Array;
      /** From KeyInfo, in its order; the key of the first made the signature. Nothing here trusts them. */
      readonly certificates: readonly [Certificate, ...Certificate[]];
    }
  | { readonly ok: false; readonly rule: "bad-digest" | "bad-signature" };

const DSIG = "http://www.w3.org/2000/09/xmldsig#";
const MORE = "http://www.w3.org/2001/04/xmldsig-more#";
const ENVELOPED = `${DSIG}enveloped-signature`;

const CANONICALIZATIONS: ReadonlyMap<string, C14nOptions["method"]> = new Map([
  ["http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "inclusive"],
  ["http://www.w3.org/2006/12/xml-c14n11", "inclusive"],
  ["http://www.w3.org/2001/10/xml-exc-c14n#", "exclusive"],
]);
const DIGESTS: ReadonlyMap<string, string> = new Map([
  ["http://www.w3.org/2001/04/xmlenc#sha256", "sha256"],
  [`${MORE}sha384`, "sha384"],
  ["http://www.w3.org/2001/04/xmlenc#sha512", "sha512"],
]);
const SIGNATURES: ReadonlyMap<string, SignatureMethod> = new Map(
  (["sha256", "sha384", "sha512"] as const).flatMap((hash): [string, SignatureMethod][] => [
    [`${MORE}ecdsa-${hash}`, { keyType: "ec", hash }],
    [`${MORE}rsa-${hash}`, { keyType: "rsa", hash }],
  ]),
);

interface SignatureMethod {
  readonly keyType: string;
  readonly hash: SignatureHash;
}

const refuse = (why: string) => codecError("XMLDSIG_INVALID", { detail: why });

/**
 * The document must have one Signature, a child of the document element, with one Reference to the whole document
 * (URI="") through the enveloped-signature transform and one canonicalization. Throws XML_INVALID or XMLDSIG_INVALID
 * for any other shape or algorithm, X509_INVALID or DER_INVALID for its certificates.
 */
export function verifyEnvelopedSignature(xml: Uint8Array): XmlSignatureResult {
  const root = parseXml(xml);
  const signature = findSignature(root);
  const [info, value, keyInfo] = expectChildren(signature, ["SignedInfo", "SignatureValue", "KeyInfo"]);
  const [canonicalization, method, reference] = expectChildren(info, [
    "CanonicalizationMethod",
    "SignatureMethod",
    "Reference",
  ]);
  const certificates = readCertificates(keyInfo);
  const signedBytes = digestedBytes(root, signature, reference);
  const ancestors = [root, signature];
  const infoBytes = canonicalizeXml(info, { method: lookUp(CANONICALIZATIONS, canonicalization), ancestors });
  if (!digestMatches(reference, signedBytes)) return { ok: false, rule: "bad-digest" };
  if (!signatureMatches(infoBytes, base64Of(value), certificates[0], lookUp(SIGNATURES, method))) {
    return { ok: false, rule: "bad-signature" };
  }
  return { ok: true, root: parseXml(signedBytes), signedBytes, certificates };
}

/** Exactly one in the whole document, and no other element of its namespace outside. */
function findSignature(root: XmlElement): XmlElement {
  const [signature, ...more] = childElements(root).filter(({ namespace }) => namespace === DSIG);
  if (signature?.local !== "Signature" || more.length > 0) throw refuse("no single Signature in the document element");
  const elsewhere = [root, ...descendants(root, signature)].some(({ namespace }) => namespace === DSIG);
  const inside = descendants(signature).some(({ local, namespace }) => local === "Signature" && namespace === DSIG);
  if (elsewhere || inside) throw refuse("parts of a signature elsewhere");
  return signature;
}

function descendants(element: XmlElement, except?: XmlElement): XmlElement[] {
  const children = childElements(element).filter((child) => child !== except);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

/** Exactly these children in this order; only white space between them. */
function expectChildren<const T extends readonly string[]>(
  element: XmlElement,
  names: T,
): { -readonly [K in keyof T]: XmlElement } {
  const children = childElements(element);
  const right = children.length === names.length && children.every((child, index) => isDsig(child, names[index]));
  const spaceOnly = element.children.every((child) => typeof child !== "string" || /^[ \t\n]*$/.test(child));
  if (!right || !spaceOnly) throw refuse(`children of ${element.local}`);
  return children as { -readonly [K in keyof T]: XmlElement };
}

const isDsig = (element: XmlElement, local: string | undefined) =>
  element.namespace === DSIG && element.local === local;

/** What an element's Algorithm names; parameters are refused. */
function lookUp<T>(table: ReadonlyMap<string, T>, element: XmlElement): T {
  const found = table.get(algorithmOf(element));
  if (found === undefined) throw refuse(`the algorithm of ${element.local}`);
  return found;
}

function algorithmOf(element: XmlElement): string {
  const parameters = childElements(element).length > 0 || element.attributes.length !== 1;
  if (parameters) throw refuse(`parameters of ${element.local}`);
  return attributeOf(element, "Algorithm") ?? "";
}

function digestedBytes(root: XmlElement, signature: XmlElement, reference: XmlElement): Uint8Array {
  if (attributeOf(reference, "URI") !== "" || reference.attributes.length !== 1)
    throw refuse('Reference is not URI=""');
  const [transforms] = expectChildren(reference, ["Transforms", "DigestMethod", "DigestValue"]);
  const [enveloped, canonicalization] = expectChildren(transforms, ["Transform", "Transform"]);
  if (algorithmOf(enveloped) !== ENVELOPED) throw refuse("the first transform is not enveloped-signature");
  return canonicalizeXml(root, { method: lookUp(CANONICALIZATIONS, canonicalization), omit: signature });
}

function digestMatches(reference: XmlElement, signedBytes: Uint8Array): boolean {
  const [, method, value] = expectChildren(reference, ["Transforms", "DigestMethod", "DigestValue"]);
  const digest = createHash(lookUp(DIGESTS, method)).update(signedBytes).digest();
  return equalBytes(digest, base64Of(value));
}

/** ECDSA signatures are r and s side by side (XML Signature, section 6.4.3). */
function signatureMatches(
  bytes: Uint8Array,
  signature: Uint8Array,
  { publicKey }: Certificate,
  { keyType, hash }: SignatureMethod,
): boolean {
  if (publicKey.asymmetricKeyType !== keyType) return false;
  return keyType === "ec"
    ? verifyRawEcdsa(hash, bytes, publicKey, signature)
    : verify(hash, bytes, publicKey, signature);
}

function readCertificates(keyInfo: XmlElement): [Certificate, ...Certificate[]] {
  const [data] = expectChildren(keyInfo, ["X509Data"]);
  const elements = childElements(data);
  if (elements.length > CODEC_LIMITS.xmldsigCertificates) throw refuse(`${elements.length} certificates`);
  expectChildren(
    data,
    elements.map(() => "X509Certificate"),
  );
  const [first, ...rest] = elements.map((element) => parseCertificate(base64Of(element)));
  if (!first) throw refuse("no certificate");
  return [first, ...rest];
}

function base64Of(element: XmlElement): Uint8Array {
  const bytes = fromBase64((textOf(element) ?? "").replace(/[ \t\n]/g, ""));
  if (!bytes || bytes.length === 0 || element.attributes.length > 0) throw refuse(`${element.local} is not base64`);
  return bytes;
}
