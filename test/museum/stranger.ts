/** Opens a sealed model with spec/sealed-model.md in hand and nothing of our own code: what the document lacks fails here. */
import { createDecipheriv, createHash, createHmac, hkdfSync, timingSafeEqual, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const empty = new Uint8Array(0);

/** Objects of strings, arrays and objects only, which is all that the format makes canonical. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const record = value as Record<string, unknown>;
  const keys = Object.keys(record).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(record[key])}`).join(",")}}`;
}

function openGcm(key: Uint8Array, sealed: Uint8Array, aad: Uint8Array): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, 12));
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([decipher.update(sealed.subarray(12, sealed.length - 16)), decipher.final()]);
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}

function signedPayload(envelope: { payloadType: string; payload: string; signatures: { sig: string }[] }, pem: string) {
  const payload = Buffer.from(envelope.payload, "base64");
  const head = `DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${payload.length} `;
  const signature = Buffer.from(envelope.signatures[0]?.sig ?? "", "base64");
  const key = { key: pem, dsaEncoding: "der" as const };
  check(verify("sha256", Buffer.concat([Buffer.from(head), payload]), key, signature), "signature");
  return JSON.parse(payload.toString());
}

const frame = (text: string) => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};

export interface Steps {
  readonly packageKey: string;
  readonly macKey: string;
  readonly mac: string;
  readonly fileKey: string;
  readonly aad: string;
  readonly header: string;
  readonly messageKey: string;
  readonly segmentKey: string;
}

export interface Opened {
  readonly files: ReadonlyMap<string, Buffer>;
  /** The values on the way to the first file, hex and text, as section 9 shows them. */
  readonly steps: Steps;
}

export function openAsStranger(piece: string): Opened {
  const read = (name: string) => readFileSync(join(piece, name));
  const json = (name: string) => JSON.parse(read(name).toString());
  const pem = read("signer.pub").toString();
  const manifest = signedPayload(json("sealed/model.sig").dsseEnvelope, pem);
  const seal = signedPayload(json("sealed/seal.json"), pem);
  check(seal.predicateType === "urn:modelkeep:seal:v1", "predicate");
  check(seal.subject[0].digest.sha256 === manifest.subject[0].digest.sha256, "root");

  const { mac, ...body } = json("sealed/envelope.json");
  check(body.package_id === seal.predicate.package_id, "package");
  const [recipient] = body.recipients;
  const [header = "", line = ""] = read("models.kek").toString().split("\n");
  check(header === `modelkeep-kek-v1 ${recipient.key_id}`, "key id");
  const kek = Buffer.from(line.split(" ")[1] ?? "", "hex");
  const context = { package_id: body.package_id, root_digest: body.root_digest };
  const { key_id, key_version } = recipient;
  const wrapAad = canonical({ format: "modelkeep-kek-v1", key_id, key_version, context });
  const packageKey = openGcm(kek, Buffer.from(recipient.ciphertext, "base64"), Buffer.from(wrapAad));
  const macKey = Buffer.from(hkdfSync("sha256", packageKey, empty, "modelkeep envelope mac v1", 32));
  const expectedMac = createHmac("sha256", macKey).update(canonical(body)).digest();
  check(timingSafeEqual(expectedMac, Buffer.from(mac, "base64")), "envelope code");

  const opened = seal.predicate.files.map((file: Record<string, string | number>, index: number) => {
    check(file.path === manifest.predicate.resources[index].name, "path");
    check(file.sha256 === manifest.predicate.resources[index].digest, "digest");
    return openFile(packageKey, body.package_id, file, read);
  });
  const files = new Map<string, Buffer>(opened.map((one: { path: string; plain: Buffer }) => [one.path, one.plain]));
  const steps = { packageKey: packageKey.toString("hex"), macKey: macKey.toString("hex"), mac, ...opened[0].steps };
  return { files, steps };
}

function openFile(
  packageKey: Uint8Array,
  packageId: string,
  file: Record<string, string | number>,
  read: (name: string) => Buffer,
) {
  const path = String(file.path);
  const info = Buffer.concat([Buffer.from("modelkeep file key v1"), frame(packageId), frame(path)]);
  const fileKey = Buffer.from(hkdfSync("sha256", packageKey, empty, info, 32));
  const aad = canonical({ format: "modelkeep-sealed-model-v1", package_id: packageId, path });
  const message = read(`sealed/${file.blob}`);
  const context = message.subarray(0, 42);
  check(context.subarray(0, 10).toString("hex") === "00000010002000000020", "parameters");
  const expand = (key: Uint8Array, purpose: Uint8Array, length: number) =>
    createHmac("sha384", key)
      .update(context)
      .update(purpose)
      .update(aad)
      .update(Uint8Array.of(1))
      .digest()
      .subarray(0, length);
  const tag = expand(fileKey, Buffer.from("HEADER_TAG:"), 32);
  check(tag.equals(message.subarray(42, 74)) && tag.toString("hex") === file.header_tag, "header tag");
  const messageKey = expand(fileKey, Buffer.from("MESSAGE_KEY:"), 48);
  const segmentKey = expand(messageKey, Buffer.concat([Buffer.from("DEK:"), Buffer.alloc(8)]), 32);
  const segment = message.subarray(74);
  check(segment.readUInt32BE(0) === segment.length && segment.length === Number(file.bytes) + 32, "length");
  const plain = openGcm(segmentKey, segment.subarray(4), Buffer.from("000000000000000001", "hex"));
  const leaves = read(`sealed/${file.leaves}`);
  check(sha256(leaves).toString("hex") === file.leaves_sha256 && sha256(plain).equals(leaves), "leaves");
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const steps = {
    fileKey: hex(fileKey),
    aad,
    header: hex(message.subarray(0, 74)),
    messageKey: hex(messageKey),
    segmentKey: hex(segmentKey),
  };
  return { path, plain, steps };
}
