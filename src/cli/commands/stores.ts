/** modelkeep push and pull: a sealed model from a folder to a store and back, as it is. */
import { copySealed, type Replaced, type SealedPlace } from "../../sealing/index.ts";
import type { Command, CommandContext, CommandInput, CommandOption } from "../command.ts";
import { formatBytes } from "../terminal.ts";
import { openPlace, PREFIX } from "./sealing.ts";

const FOLDER = { name: "DIR", about: "folder of the sealed model" };
const STORE = { name: "STORE", about: "file:///, s3://, gs://, az:// or oci:// with a place" };

async function placeOf(context: CommandContext, place: string | undefined, prefix: string): Promise<SealedPlace> {
  return { store: await openPlace(context, place ?? ""), prefix };
}

async function copy(context: CommandContext, from: SealedPlace, to: SealedPlace, replaced: Replaced) {
  const { progress, signal } = context;
  const copied = await copySealed({ from, to, replaced, progress, signal });
  const { packageId, rootDigest, copiedBlobs, keptBlobs, bytes } = copied;
  const data = {
    store: to.store.uri,
    package_id: packageId,
    root_digest: rootDigest,
    copied_blobs: copiedBlobs,
    kept_blobs: keptBlobs,
    bytes,
  };
  const kept = keptBlobs > 0 ? `, ${keptBlobs} were there already` : "";
  return { data, text: `copied ${copiedBlobs} blobs, ${formatBytes(bytes)}${kept}` };
}

const REPLACE: CommandOption = {
  flag: "--replace",
  about: "of a finished model that is there: put signatures, bill of materials, findings and recipients in their place",
};

const prefixOf = (input: CommandInput) => input.text("--prefix") ?? "";

export const push: Command = {
  name: "push",
  about: "Copy a sealed model from a folder to a store. Goes on where it stopped; needs no key.",
  examples: [
    { line: "modelkeep push ./sealed file:///srv/models --prefix my-model/1", about: "every blob is read back" },
    { line: "modelkeep push ./sealed s3://my-bucket/models/my-model/1", about: "to a bucket: s3://, gs:// or az://" },
    { line: "modelkeep push ./sealed oci://registry.example/models/my-model:1", about: "to a registry" },
  ],
  args: [FOLDER, STORE],
  options: [REPLACE, PREFIX],
  async run(context, input) {
    const from = await placeOf(context, input.args[0], "");
    const to = await placeOf(context, input.args[1], prefixOf(input));
    return copy(context, from, to, input.on("--replace") ? "all" : "nothing");
  },
};

export const pull: Command = {
  name: "pull",
  about:
    "Copy a sealed model from a store to a folder, or its recipients anew. Goes on where it stopped; needs no key.",
  examples: [
    { line: "modelkeep pull file:///srv/models ./sealed --prefix my-model/1", about: "every blob is read back" },
    { line: "modelkeep pull oci://registry.example/models/my-model:1 ./sealed", about: "from a registry" },
  ],
  args: [STORE, FOLDER],
  options: [REPLACE, PREFIX],
  async run(context, input) {
    const from = await placeOf(context, input.args[0], prefixOf(input));
    const to = await placeOf(context, input.args[1], "");
    return copy(context, from, to, input.on("--replace") ? "all" : "envelope");
  },
};
