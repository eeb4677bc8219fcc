/** Options of the command line that say what the model is and how its files are hashed. */
import { basename } from "node:path";
import { ARTIFACT_LIMITS, type ModelContent, OciContent } from "../../artifact/index.ts";
import { readFileBounded } from "../../host/index.ts";
import type { HashType } from "../../signing/index.ts";
import type { CommandInput, CommandOption } from "../command.ts";
import { cliError } from "../errors.ts";

export const CONTENT_OPTIONS: readonly CommandOption[] = [
  { flag: "--allow-symlinks", about: "links inside the model count as what they lead to; others are refused" },
  { flag: "--oci", about: "MODEL is an OCI image manifest: its layers are the files, under their titles" },
];

export const HASH_OPTIONS: readonly CommandOption[] = [
  {
    flag: "--hash",
    value: "NAME",
    about: "of the files; the reference's command line verifies sha256 alone",
    choices: ["sha256", "blake2b", "blake3"],
    default: "sha256",
  },
  { flag: "--shards", value: "BYTES", about: "a digest for every so many bytes: one large file is hashed in parallel" },
];

/** The path itself, or what an OCI manifest at it says. */
export async function readContent(input: CommandInput, root: string): Promise<string | ModelContent> {
  if (!input.on("--oci")) return root;
  if (input.on("--allow-symlinks")) throw cliError("USAGE", { detail: "--allow-symlinks does not go with --oci" });
  return new OciContent(await readFileBounded(root, ARTIFACT_LIMITS.ociManifestBytes), basename(root));
}

export function hashingOf(input: CommandInput): { hashType: HashType; shardBytes?: number } {
  const hashType = input.need("--hash") as HashType;
  const shards = input.text("--shards");
  if (input.on("--oci") && (shards !== undefined || hashType !== "sha256"))
    throw cliError("USAGE", { detail: "--oci goes with neither --shards nor another --hash: it names whole layers" });
  if (shards === undefined) return { hashType };
  if (!/^[1-9]\d{0,14}$/.test(shards))
    throw cliError("USAGE", { detail: `--shards ${shards}: a number of bytes, for example 1000000000` });
  return { hashType, shardBytes: Number(shards) };
}
