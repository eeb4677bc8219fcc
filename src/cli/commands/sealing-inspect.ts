/** modelkeep inspect: what a sealed model says of itself, as a table. */
import { inspectSealed, type SealedInfo } from "../../sealing/index.ts";
import type { Command } from "../command.ts";
import { formatBytes } from "../terminal.ts";
import { PREFIX, SEALED, sealedPlace } from "./sealing.ts";

export const inspect: Command = {
  name: "inspect",
  about: "What a sealed model says of itself. Nothing is verified and no key is needed.",
  examples: [
    { line: "modelkeep inspect ./sealed", about: "signer, sizes, files, and who holds the keys" },
    { line: "modelkeep inspect s3://my-bucket/my-model --json", about: "in a store, for a program" },
  ],
  args: [SEALED],
  options: [PREFIX],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const info = await inspectSealed(store, prefix);
    return { data: wireOf(info), text: describe(info) };
  },
};

function wireOf(info: SealedInfo) {
  return {
    verified: false,
    format: info.format,
    package_id: info.packageId,
    root_digest: info.rootDigest,
    payload: info.payload,
    leaf_hash: info.leafHash,
    signer: signerWire(info),
    statements: info.statements,
    bytes: sum(info.files, ({ bytes }) => bytes),
    sealed_bytes: sum(info.files, ({ sealedBytes }) => sealedBytes),
    recipients: info.recipients.map(({ kms, keyId, keyVersion }) => ({ kms, key_id: keyId, key_version: keyVersion })),
    files: info.files.map(({ path, bytes, sealedBytes, segments, sha256 }) => ({
      path,
      bytes,
      sealed_bytes: sealedBytes,
      segments,
      sha256,
    })),
  };
}

function signerWire({ signer }: SealedInfo) {
  if (!signer) return null;
  return "keyId" in signer ? { key_id: signer.keyId } : { certificate_sha256: signer.certificateSha256 };
}

function signerText({ signer }: SealedInfo): string {
  if (!signer) return "nobody that it names";
  return "keyId" in signer ? `key ${signer.keyId}` : `certificate ${signer.certificateSha256}`;
}

function describe(info: SealedInfo): string[] {
  const { files, recipients, statements } = info;
  const [bytes, sealed] = [sum(files, (file) => file.bytes), sum(files, (file) => file.sealedBytes)];
  return [
    `package    ${info.packageId}`,
    `root       ${info.rootDigest} (not verified)`,
    `signed by  ${signerText(info)} (not verified)`,
    `format     ${info.format}, ${info.payload}`,
    `segments   1 MiB, hashed with ${info.leafHash}`,
    `size       ${formatBytes(bytes)} in ${files.length} files, ${formatBytes(sealed)} sealed`,
    ...(statements.length > 0 ? [`beside it  ${statements.join(", ")}`] : []),
    "",
    ...(recipients.length > 0
      ? table(
          ["VERSION", "KEY", "WHO OPENS IT"],
          recipients.map((to) => [to.keyVersion, to.keyId, to.kms]),
        )
      : ["nobody opens it: the model was shredded"]),
    "",
    ...table(
      ["SIZE", "SEGMENTS", "SHA-256", "FILE"],
      files.map((file) => [formatBytes(file.bytes), String(file.segments), file.sha256.slice(0, 16), file.path]),
    ),
  ];
}

/** Columns as wide as they need to be; the last one, which may be a long name, ends the line. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [head, ...rows];
  const widths = head.map((_, at) => Math.max(...lines.map((line) => line[at]?.length ?? 0)));
  return lines.map((line) =>
    line.map((word, at) => (at < line.length - 1 ? word.padEnd(widths[at] ?? 0) : word)).join("  "),
  );
}

function sum<T>(list: readonly T[], of: (one: T) => number): number {
  return list.reduce((total, one) => total + of(one), 0);
}
