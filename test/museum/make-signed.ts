/** Makes a piece of the museum, once per format version: `node test/museum/make-signed.ts signatures-v1`. Old pieces are never made again. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OID, toPem } from "../../src/codec/index.ts";
import { systemClock, systemRandom } from "../../src/host/index.ts";
import {
  loadEcSigner,
  openKeylessSigner,
  type SignOptions,
  signModel,
  signStatement,
  withCertificates,
} from "../../src/signing/index.ts";
import { makePair } from "../sealing/support.ts";
import { KeylessCounterpart, makeToken } from "../signing/keyless-sign-counterpart.ts";
import { commonName, makeAuthority, makeCertificate } from "../support/der-writer.ts";
import { StampingAuthority } from "../support/tsa.ts";

const [name = ""] = process.argv.slice(2);
const piece = join(import.meta.dirname, name);
if (name === "" || existsSync(piece)) throw new Error("name a piece that is not there yet");

const root = join(piece, "model");
mkdirSync(join(root, ".hidden"), { recursive: true });
mkdirSync(join(root, "weights"));
writeFileSync(join(root, "config.json"), '{"model_type":"keeper"}\n');
writeFileSync(join(root, "empty"), "");
writeFileSync(join(root, ".hidden/file"), "signed as any other\n");
writeFileSync(join(root, "weights/tensor.bin"), Buffer.from(Array.from({ length: 300 }, (_, index) => index & 255)));

const AT = Date.UTC(2026, 0, 1);
const authority = makeAuthority({ subject: "Museum root" });
const middle = makeAuthority({ subject: "Museum issuer", issuer: authority, pathLength: 0 });
const leaf = makeCertificate({
  subject: commonName("Museum signer"),
  issuer: middle,
  ca: false,
  keyUsage: ["digitalSignature"],
  extendedKeyUsage: [OID.codeSigning],
});
const leafKey = leaf.privateKey.export({ type: "pkcs8", format: "pem" }).toString();
const pemOf = (der: Uint8Array) => toPem("CERTIFICATE", der);
writeFileSync(join(piece, "authority.crt"), pemOf(authority.der));

async function add(file: string, options: Omit<SignOptions, "root">): Promise<string> {
  const { bundle, rootDigest } = await signModel({ root, ...options });
  writeFileSync(join(piece, `${file}.sig`), bundle);
  return rootDigest;
}

for (const curve of ["P-256", "P-384", "P-521"]) {
  const { signer, publicPem } = makePair(curve);
  writeFileSync(join(piece, `${curve}.pub`), publicPem);
  const rootDigest = await add(`key-${curve}`, { signer });
  if (curve !== "P-256") continue;
  for (const hashType of ["sha256", "blake2b", "blake3"] as const) {
    await add(`key-${curve}-${hashType}-files`, { signer, hashType, ignore: ["left/out"] });
    await add(`key-${curve}-${hashType}-shards`, { signer, hashType, shardBytes: 100 });
  }
  const statement = { predicateType: "urn:modelkeep:museum:v1", predicate: { kept: true }, rootDigest, name: "model" };
  writeFileSync(join(piece, "statement.json"), await signStatement({ ...statement, signer }));
}
const certified = withCertificates(
  loadEcSigner(Buffer.from(leafKey)),
  { certificate: Buffer.from(pemOf(leaf.der)), chain: Buffer.from(pemOf(middle.der)) },
  AT,
);
await add("certificate", { signer: certified });

const stamper = new StampingAuthority();
writeFileSync(join(piece, "stamp-root.crt"), pemOf(stamper.root.der));
const stamp = async (bytes: Uint8Array) => [stamper.stamp({ bytes, at: AT })];
await add("certificate-stamped", { signer: { ...certified, stamp } });
const { signer: stamped, publicPem: stampedPem } = makePair();
writeFileSync(join(piece, "stamped.pub"), stampedPem);
await add("key-stamped", { signer: { ...stamped, stamp } });

/** Its proofs say when it was signed, so that no clock is asked when it is verified. */
const counterpart = await KeylessCounterpart.start();
writeFileSync(join(piece, "trusted-root.json"), counterpart.trustedRoot());
for (const version of [1, 2] as const) {
  const signer = await openKeylessSigner({
    fetch: globalThis.fetch,
    clock: systemClock,
    random: systemRandom,
    token: { env: { SIGSTORE_ID_TOKEN: makeToken() } },
    endpoints: counterpart.endpoints(version),
    trustedRoot: counterpart.trustedRoot(),
  });
  await add(`keyless-log-${version}`, { signer });
}
process.exit();
