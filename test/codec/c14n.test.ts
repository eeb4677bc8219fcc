/** XML, its canonical form, and enveloped signatures: recorded ones hold, and nothing can be wrapped around them. */
import assert from "node:assert/strict";
import { createHash, randomBytes, sign } from "node:crypto";
import { test } from "node:test";
import { fromUtf8, toBase64, utf8 } from "../../src/base/index.ts";
import {
  attributeOf,
  canonicalizeXml,
  childElements,
  parseXml,
  textOf,
  verifyEnvelopedSignature,
  type XmlElement,
} from "../../src/codec/index.ts";
import { makeCertificate, makeKeys } from "../support/der-writer.ts";
import { ABSENT, codeOf, filesBelow, fuzzMs, hasVectors, readVector, vectors } from "./certificates.ts";

const inclusive = (text: string) => fromUtf8(canonicalizeXml(parseXml(utf8(text)), { method: "inclusive" }));
const exclusive = (text: string) => fromUtf8(canonicalizeXml(parseXml(utf8(text)), { method: "exclusive" }));

/** The canonical form of the element that the local names lead to. */
function subset(text: string, method: "inclusive" | "exclusive", ...path: string[]): string {
  const ancestors: XmlElement[] = [];
  let element = parseXml(utf8(text));
  for (const local of path) {
    ancestors.push(element);
    const child = childElements(element).find((one) => one.local === local);
    assert.ok(child, local);
    element = child;
  }
  return fromUtf8(canonicalizeXml(element, { method, ancestors }));
}

const xmlRefused = (text: string | Uint8Array, why?: string) =>
  assert.equal(
    codeOf(() => parseXml(typeof text === "string" ? utf8(text) : text)),
    "XML_INVALID",
    why ?? String(text),
  );

test("canonical form: the order of attributes and namespaces, as Canonical XML shows it (section 3.3)", () => {
  const text = `<?xml version="1.0"?>
<doc>
   <e1   />
   <e2   ></e2>
   <e3   name = "elem3"   id="elem3"   />
   <e5 a:attr="out" b:attr="sorted" attr2="all" attr="I'm"
      xmlns:b="http://www.ietf.org"
      xmlns:a="http://www.w3.org"
      xmlns="http://example.org"/>
   <e6 xmlns="" xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8 xmlns="" xmlns:a="http://www.w3.org">
            <e9 xmlns="" xmlns:a="http://www.ietf.org"/>
         </e8>
      </e7>
   </e6>
</doc>
`;
  assert.equal(
    inclusive(text),
    `<doc>
   <e1></e1>
   <e2></e2>
   <e3 id="elem3" name="elem3"></e3>
   <e5 xmlns="http://example.org" xmlns:a="http://www.w3.org" xmlns:b="http://www.ietf.org" attr="I'm" attr2="all" b:attr="sorted" a:attr="out"></e5>
   <e6 xmlns:a="http://www.w3.org">
      <e7 xmlns="http://www.ietf.org">
         <e8 xmlns="">
            <e9 xmlns:a="http://www.ietf.org"></e9>
         </e8>
      </e7>
   </e6>
</doc>`,
  );
});

test("canonical form: characters (section 3.4), line ends", () => {
  const text = `<doc>\r\n<text>First line&#x0d;&#10;Second line</text><value>&#x32;</value><compute expr='value>"0" &amp;&amp; value&lt;"10" ?"valid":"error"'>valid</compute><norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/><t a="1\t2\n3">&gt;&quot;\u{1f600}</t></doc>`;
  assert.equal(
    inclusive(text),
    `<doc>\n<text>First line&#xD;\nSecond line</text><value>2</value><compute expr="value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;">valid</compute><norm attr=" '    &#xD;&#xA;&#x9;   ' "></norm><t a="1 2 3">&gt;"\u{1f600}</t></doc>`,
  );
});

test("exclusive form: only the prefixes that are used, as Exclusive Canonical XML shows it (section 2.2)", () => {
  const first = `<n0:local xmlns:n0="foo:bar" xmlns:n3="ftp://example.org"><n1:elem2 xmlns:n1="http://example.net" xml:lang="en"><n3:stuff xmlns:n3="ftp://example.org"/></n1:elem2></n0:local>`;
  const second = `<n2:pdu xmlns:n1="http://example.com" xmlns:n2="http://foo.example" xml:lang="fr" xml:space="retain"><n1:elem2 xmlns:n1="http://example.net" xml:lang="en"><n3:stuff xmlns:n3="ftp://example.org"/></n1:elem2></n2:pdu>`;
  const same = `<n1:elem2 xmlns:n1="http://example.net" xml:lang="en"><n3:stuff xmlns:n3="ftp://example.org"></n3:stuff></n1:elem2>`;
  assert.equal(subset(first, "exclusive", "elem2"), same);
  assert.equal(subset(second, "exclusive", "elem2"), same);
  assert.equal(
    subset(first, "inclusive", "elem2"),
    `<n1:elem2 xmlns:n0="foo:bar" xmlns:n1="http://example.net" xmlns:n3="ftp://example.org" xml:lang="en"><n3:stuff></n3:stuff></n1:elem2>`,
  );
  assert.equal(
    subset(second, "inclusive", "elem2"),
    `<n1:elem2 xmlns:n1="http://example.net" xmlns:n2="http://foo.example" xml:lang="en" xml:space="retain"><n3:stuff xmlns:n3="ftp://example.org"></n3:stuff></n1:elem2>`,
  );
  assert.equal(
    exclusive(`<a xmlns="u:x" xmlns:b="u:y"><c xmlns=""><b:d e="1" b:f="2"/></c></a>`),
    `<a xmlns="u:x"><c xmlns=""><b:d xmlns:b="u:y" e="1" b:f="2"></b:d></c></a>`,
  );
  assert.equal(exclusive(`<b:a xmlns="u:x" xmlns:b="u:y"><c/></b:a>`), `<b:a xmlns:b="u:y"><c xmlns="u:x"></c></b:a>`);
});

test("the canonical form is its own canonical form", () => {
  for (const make of [inclusive, exclusive]) {
    const once = make(`<a xmlns="u:x" xmlns:q="u:q" z="1" q:y="&#9;&lt;">t&amp;&#13;<q:b xmlns:q="u:r"/> </a>`);
    assert.equal(make(once), once);
  }
});

test("what Canonical XML 1.0 and 1.1 treat differently is refused", () => {
  for (const special of ["xml:base='u:x'", "xml:id='x'"]) {
    const root = parseXml(utf8(`<a ${special}><b/></a>`));
    assert.equal(
      codeOf(() => canonicalizeXml(root, { method: "inclusive" })),
      "XML_INVALID",
    );
    const [child] = childElements(root);
    assert.ok(child);
    assert.equal(
      codeOf(() => canonicalizeXml(child, { method: "inclusive", ancestors: [root] })),
      "XML_INVALID",
    );
  }
});

test("what XML may hold and this reader does not", () => {
  xmlRefused(`<!DOCTYPE a><a/>`);
  xmlRefused(`<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>`);
  xmlRefused(`<a><!-- c --></a>`);
  xmlRefused(`<!-- c --><a/>`);
  xmlRefused(`<a/><!-- c -->`);
  xmlRefused(`<a><?pi x?></a>`);
  xmlRefused(`<?pi x?><a/>`);
  xmlRefused(`<a><![CDATA[x]]></a>`);
  xmlRefused(`<a>&nbsp;</a>`);
  xmlRefused(`<ä/>`);
  xmlRefused(`<?xml version="1.1"?><a/>`);
  xmlRefused(`<?xml version="1.0" encoding="latin1"?><a/>`);
});

test("text that is not well-formed", () => {
  for (const bad of [
    "",
    " ",
    "a",
    "<",
    "<a",
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<a/>x",
    "x<a/>",
    "<a b/>",
    "<a b=c/>",
    "</a>",
  ])
    xmlRefused(bad);
  for (const bad of [
    `<a b="1" b="2"/>`,
    `<a b="1"c="2"/>`,
    `<a b="<"/>`,
    `<a b="1'/>`,
    "<a>&</a>",
    "<a>&amp</a>",
    "<a>]]></a>",
  ])
    xmlRefused(bad);
  for (const bad of ["&#0;", "&#xD800;", "&#x110000;", "&#xFFFF;", "&#1;", "&#;", "&#x;", "&#99999999;"])
    xmlRefused(`<a>${bad}</a>`);
  for (const bad of ["\u0000", "\u0001", "\u007f\u0008", "\ufffe", "\ufeff"])
    xmlRefused(bad === "\ufeff" ? `${bad}<a/>` : `<a>${bad}</a>`, JSON.stringify(bad));
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80]])
    xmlRefused(Uint8Array.of(...utf8("<a>"), ...bad, ...utf8("</a>")), "not UTF-8");
});

test("namespaces: declared, once, and not XML's own", () => {
  for (const bad of [
    "<p:a/>",
    `<a p:b="1"/>`,
    `<a xmlns:p=""/>`,
    `<a xmlns:xml="u:x"/>`,
    `<a xmlns:xmlns="u:x"/>`,
    "<a:b:c/>",
  ])
    xmlRefused(bad);
  xmlRefused(`<a xmlns="http://www.w3.org/2000/xmlns/"/>`);
  xmlRefused(`<a xmlns:p="u:x" xmlns:p="u:y"/>`);
  xmlRefused(`<a xmlns:p="u:x" xmlns:q="u:x" p:b="1" q:b="2"/>`, "one attribute under two prefixes");
  const root = parseXml(utf8(`<a xmlns="u:d" xmlns:p="u:p" b="1" p:b="2"><p:c>t</p:c></a>`));
  assert.equal(root.namespace, "u:d");
  assert.equal(attributeOf(root, "b"), "1");
  assert.equal(attributeOf(root, "b", "u:p"), "2");
  const [child] = childElements(root);
  assert.equal(child?.namespace, "u:p");
  assert.equal(child && textOf(child), "t");
  assert.equal(textOf(root), undefined);
});

test("size, depth, elements, attributes and namespaces have limits", () => {
  const nested = (levels: number) => `${"<a>".repeat(levels)}${"</a>".repeat(levels)}`;
  assert.ok(parseXml(utf8(nested(32))));
  xmlRefused(nested(33), "deep");
  xmlRefused(`<a>${"<b/>".repeat(20_000)}</a>`, "wide");
  const attributes = (count: number) => `<a ${Array.from({ length: count }, (_, index) => `b${index}=""`).join(" ")}/>`;
  assert.ok(parseXml(utf8(attributes(64))));
  xmlRefused(attributes(65), "many attributes");
  const namespaces = (outer: number, inner: number) => {
    const declared = (name: string, count: number) =>
      Array.from({ length: count }, (_, index) => ` xmlns:${name}${index}="u"`).join("");
    return `<a${declared("p", outer)}><b${declared("q", inner)}/><c/></a>`;
  };
  assert.ok(parseXml(utf8(namespaces(60, 3))));
  xmlRefused(namespaces(60, 4), "namespaces in force");
  xmlRefused(new Uint8Array(1024 * 1024 + 1).fill(0x20), "long");
});

const DSIG = "http://www.w3.org/2000/09/xmldsig#";
const MORE = "http://www.w3.org/2001/04/xmldsig-more#";
const C14N11 = "http://www.w3.org/2006/12/xml-c14n11";
const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";

const keys = makeKeys("P-384");
const signer = makeCertificate({ subject: "Signer", keys });

interface Signing {
  readonly body?: string;
  readonly transforms?: string;
  readonly reference?: string;
  readonly method?: string;
  readonly canonicalization?: string;
  readonly digest?: string;
  readonly keyInfo?: string;
  readonly tail?: string;
  readonly derSignature?: boolean;
}

const algorithm = (element: string, uri: string) => `<ds:${element} Algorithm="${uri}"></ds:${element}>`;
const usualTransforms = algorithm("Transform", `${DSIG}enveloped-signature`) + algorithm("Transform", C14N11);

/** A signed document, written by hand: its canonical form is its own text. */
function signedDocument(options: Signing = {}): string {
  const { body = "<b>text</b>", transforms = usualTransforms, canonicalization = C14N11 } = options;
  const [open, close] = [`<doc xmlns="u:doc" xmlns:p="u:p" v="1">`, "</doc>"];
  const digested = transforms.includes(EXCLUSIVE) ? open.replace(` xmlns:p="u:p"`, "") : open;
  const value = createHash("sha384")
    .update(digested + body + close)
    .digest("base64");
  const info =
    algorithm("CanonicalizationMethod", canonicalization) +
    algorithm("SignatureMethod", options.method ?? `${MORE}ecdsa-sha384`) +
    `<ds:Reference ${options.reference ?? `URI=""`}><ds:Transforms>${transforms}</ds:Transforms>` +
    `${algorithm("DigestMethod", options.digest ?? `${MORE}sha384`)}<ds:DigestValue>${value}</ds:DigestValue></ds:Reference>`;
  const context = canonicalization === EXCLUSIVE ? "" : ` xmlns="u:doc"`;
  const others = canonicalization === EXCLUSIVE ? "" : ` xmlns:p="u:p"`;
  const covered = `<ds:SignedInfo${context} xmlns:ds="${DSIG}"${others}>${info}</ds:SignedInfo>`;
  const encoding = options.derSignature ? "der" : "ieee-p1363";
  const signature = sign("sha384", utf8(covered), { key: keys.privateKey, dsaEncoding: encoding }).toString("base64");
  const keyInfo = options.keyInfo ?? x509Data(signer.der);
  return (
    `${open}${body}<ds:Signature xmlns:ds="${DSIG}"><ds:SignedInfo>${info}</ds:SignedInfo>` +
    `<ds:SignatureValue>${signature}</ds:SignatureValue><ds:KeyInfo>${keyInfo}</ds:KeyInfo>${options.tail ?? ""}</ds:Signature>${close}`
  );
}

const x509Data = (...certificates: Uint8Array[]) =>
  `<ds:X509Data>${certificates.map((der) => `<ds:X509Certificate>${toBase64(der)}</ds:X509Certificate>`).join("")}</ds:X509Data>`;

function verdict(text: string): string {
  let rule = "";
  const code = codeOf(() => {
    const result = verifyEnvelopedSignature(utf8(text));
    rule = result.ok ? "ok" : result.rule;
  });
  return code ?? rule;
}

test("a document that was signed as it should be", () => {
  const result = verifyEnvelopedSignature(utf8(signedDocument()));
  assert.ok(result.ok);
  assert.equal(result.certificates[0].subject.commonName, "Signer");
  assert.equal(fromUtf8(result.signedBytes), `<doc xmlns="u:doc" xmlns:p="u:p" v="1"><b>text</b></doc>`);
  assert.equal(attributeOf(result.root, "v"), "1");
  assert.deepEqual(
    childElements(result.root).map(({ local }) => local),
    ["b"],
    "without its signature",
  );
  const exclusiveTransforms = usualTransforms.replace(C14N11, EXCLUSIVE);
  assert.equal(verdict(signedDocument({ transforms: exclusiveTransforms })), "ok");
  assert.equal(verdict(signedDocument({ canonicalization: EXCLUSIVE })), "ok");
  const spaced = signedDocument()
    .replace("<ds:SignatureValue>", "\n  <ds:SignatureValue>\n")
    .replace(`v="1"`, `  v = '1'`);
  assert.equal(verdict(spaced), "ok", "what canonical form levels does not matter");
});

test("changed after it was signed", () => {
  const text = signedDocument();
  assert.equal(verdict(text.replace("<b>text", "<b>test")), "bad-digest");
  assert.equal(verdict(text.replace(`v="1"`, `v="2"`)), "bad-digest");
  assert.equal(verdict(text.replace("</b>", "</b> ")), "bad-digest");
  assert.equal(
    verdict(
      text.replace(/<ds:SignatureValue>./, (all) =>
        all.endsWith("A") ? `${all.slice(0, -1)}B` : `${all.slice(0, -1)}A`,
      ),
    ),
    "bad-signature",
  );
  const other = makeCertificate({ subject: "Signer", keyKind: "P-384" });
  assert.equal(verdict(signedDocument({ keyInfo: x509Data(other.der) })), "bad-signature");
  assert.equal(
    verdict(signedDocument({ keyInfo: x509Data(other.der, signer.der) })),
    "bad-signature",
    "the first one signs",
  );
  assert.equal(verdict(signedDocument({ keyInfo: x509Data(signer.der, other.der) })), "ok");
  assert.equal(verdict(signedDocument({ derSignature: true })), "bad-signature");
  assert.equal(verdict(signedDocument({ method: `${MORE}rsa-sha384` })), "bad-signature");
});

test("wrapping: the signed part is the whole document, and there is one signature", () => {
  const text = signedDocument();
  const signature = /<ds:Signature .*<\/ds:Signature>/.exec(text)?.[0] ?? "";
  const evil = `<doc xmlns="u:doc" xmlns:p="u:p" v="1"><b>evil</b>`;
  const refusals: Record<string, string> = {
    "the signed document inside of another": `${evil}${text}</doc>`,
    "the signed document as an Object": text
      .replace("<b>text</b>", "<b>evil</b>")
      .replace("</ds:Signature>", `<ds:Object>${text}</ds:Object></ds:Signature>`),
    "two signatures": text.replace("</doc>", `${signature}</doc>`),
    "a signature in the signed part": text.replace("<b>text</b>", `<b>${signature}</b>`),
    "the signature one level down": text.replace(signature, `<c>${signature}</c>`),
    "no signature": text.replace(signature, ""),
    "the signature alone": signature,
    "parts of one elsewhere": text.replace("<b>text</b>", `<b><ds:Reference xmlns:ds="${DSIG}"/></b>`),
    "two references": text.replace(/(<ds:Reference .*<\/ds:Reference>)/, "$1$1"),
    "two infos": text.replace(/(<ds:SignedInfo>.*<\/ds:SignedInfo>)/, "$1$1"),
    "text between": text.replace("<ds:SignatureValue>", "x<ds:SignatureValue>"),
  };
  for (const [why, document] of Object.entries(refusals)) assert.equal(verdict(document), "XMLDSIG_INVALID", why);
});

test("references, transforms and algorithms are the allowed ones and no other", () => {
  const enveloped = algorithm("Transform", `${DSIG}enveloped-signature`);
  const refusals: Record<string, Signing> = {
    "a reference to a part": { reference: `URI="#x"` },
    "a reference to elsewhere": { reference: `URI="https://example.com/"` },
    "a reference without URI": { reference: `Id="x"` },
    "a reference with a type": { reference: `URI="" Type="u:x"` },
    "no enveloped transform": { transforms: algorithm("Transform", C14N11) + algorithm("Transform", C14N11) },
    "no canonicalization": { transforms: enveloped },
    "one transform more": { transforms: usualTransforms + algorithm("Transform", C14N11) },
    XPath: { transforms: enveloped + algorithm("Transform", "http://www.w3.org/TR/1999/REC-xpath-19991116") },
    XSLT: { transforms: enveloped + algorithm("Transform", "http://www.w3.org/TR/1999/REC-xslt-19991116") },
    "with comments": { transforms: enveloped + algorithm("Transform", `${C14N11}#WithComments`) },
    "a parameter": { transforms: usualTransforms.replace(`"></ds:Transform>`, `"><ds:X></ds:X></ds:Transform>`) },
    "SHA-1": { digest: `${DSIG}sha1` },
    HMAC: { method: `${MORE}hmac-sha256` },
    "RSA with SHA-1": { method: `${DSIG}rsa-sha1` },
    "ECDSA with SHA-1": { method: `${MORE}ecdsa-sha1` },
    "an unknown canonicalization": { canonicalization: "u:none" },
    "a bare key": { keyInfo: "<ds:KeyValue></ds:KeyValue>" },
    "a key's name": { keyInfo: "<ds:KeyName>x</ds:KeyName>" },
    "no certificate": { keyInfo: "<ds:X509Data></ds:X509Data>" },
    "too many certificates": { keyInfo: x509Data(...new Array<Uint8Array>(9).fill(signer.der)) },
    "an object": { tail: "<ds:Object></ds:Object>" },
  };
  for (const [why, options] of Object.entries(refusals)) {
    assert.equal(verdict(signedDocument(options)), "XMLDSIG_INVALID", why);
  }
  assert.equal(verdict(signedDocument({ keyInfo: x509Data(Uint8Array.of(0x30, 0)) })), "DER_INVALID");
});

const EXPECTED: Readonly<Record<string, string>> = {
  "incorrect_signature_driver_rim.xml": "bad-signature",
  "NV_GPU_DRIVER_GH100_570.124.03_expired.xml": "bad-digest",
};

test("recorded reference values of NVIDIA", (t) => {
  if (!hasVectors) return t.skip(ABSENT);
  const files = filesBelow(`${vectors}/tee/nvidia-gpu`).filter((file) => /\.(xml|swidtag)$/.test(file));
  assert.equal(files.length, 16);
  for (const file of files) {
    const text = fromUtf8(readVector(file.slice(vectors.length + 1)));
    assert.equal(verdict(text), EXPECTED[file.split("/").at(-1) ?? ""] ?? "ok", file);
  }
});

test("random damage: a coded error or a document that does not verify", (t) => {
  const recorded = "tee/nvidia-gpu/hopper-full-set-545.00/vbios_rim.swidtag";
  const seeds = [utf8(signedDocument()), ...(hasVectors ? [readVector(recorded)] : [])];
  if (!hasVectors) t.diagnostic(ABSENT);
  const end = Date.now() + fuzzMs;
  const signedPart = new Set(seeds.map((seed) => canonicalSigned(seed)));
  for (let round = 0; Date.now() < end; round++) {
    const bytes = Uint8Array.from(seeds[round % seeds.length] ?? []);
    const at = randomBytes(4).readUInt32BE() % bytes.length;
    bytes[at] = randomBytes(1)[0] ?? 0;
    const code = codeOf(() => {
      const result = verifyEnvelopedSignature(bytes);
      if (result.ok) assert.ok(signedPart.has(fromUtf8(result.signedBytes)), `byte ${at}`);
    });
    assert.match(code ?? "XML_INVALID", /^(XML|XMLDSIG|DER|X509)_INVALID$/);
  }
});

function canonicalSigned(seed: Uint8Array): string {
  const result = verifyEnvelopedSignature(seed);
  assert.ok(result.ok);
  return fromUtf8(result.signedBytes);
}
