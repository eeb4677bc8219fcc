/** modelkeep bom create: the bill of materials of a model, a project, an environment or a container image. */
import { resolve } from "node:path";
import { storeSettings } from "../../artifact/index.ts";
import { utf8 } from "../../base/index.ts";
import {
  BOM_FORMATS,
  type BomFormat,
  gatherInventory,
  type JsonObject,
  SUBJECT_KINDS,
  type SubjectKind,
  writeBom,
} from "../../bom/index.ts";
import { writeFileAtomic } from "../../host/index.ts";
import type { Command, CommandContext, CommandInput, CommandResult } from "../command.ts";

export const bomCreate: Command = {
  name: "bom create",
  about:
    "Write the bill of materials of a model, a project, an environment or an image. Equal folders give equal documents.",
  examples: [
    { line: "modelkeep bom create ./my-model --output bom.json", about: "model card, files, data sets, libraries" },
    { line: "modelkeep bom create ./my-model --lockfile uv.lock", about: "with the libraries it is served by" },
    { line: "modelkeep bom create .venv --kind environment", about: "what is installed, and whether it is unchanged" },
    { line: "modelkeep bom create image.tar --kind image", about: "`docker save`, or an OCI layout" },
    { line: "modelkeep bom create oci://registry.example.org/app:1", about: "an image in a registry" },
  ],
  args: [{ name: "PATH", about: "folder of the model, or what --kind says" }],
  options: [
    { flag: "--output", value: "FILE", about: "instead of standard output" },
    { flag: "--format", value: "FORMAT", about: "what to write", choices: BOM_FORMATS, default: "cyclonedx-1.7" },
    { flag: "--kind", value: "KIND", about: "what PATH is; without it, what it looks like", choices: SUBJECT_KINDS },
    {
      flag: "--lockfile",
      value: "FILE",
      about: "a lockfile outside the folder; those inside are found",
      repeatable: true,
    },
    { flag: "--environment", value: "FOLDER", about: "an installation whose packages belong to it", repeatable: true },
    { flag: "--dataset", value: "FOLDER", about: "a data set, of which every file is hashed", repeatable: true },
    { flag: "--name", value: "NAME", about: "name of the subject" },
    { flag: "--version", value: "VERSION", about: "version of the subject" },
    { flag: "--author", value: "NAME", about: "who writes the document" },
    { flag: "--supplier", value: "NAME", about: "who made what it is about" },
    { flag: "--platform", value: "OS/ARCH", about: "of an image with several; linux/amd64 where it is there" },
    { flag: "--dated", about: "with the date and the version of this program: then no two documents are equal" },
  ],
  async run(context, input) {
    const inventory = await gatherInventory(optionsOf(context, input));
    const bom = writeBom(inventory, input.need("--format") as BomFormat);
    return writeDocument(context, input.text("--output"), bom);
  },
};

function optionsOf(context: CommandContext, input: CommandInput) {
  const place = (path: string) => resolve(context.cwd, path);
  const texts = ["name", "version", "author", "supplier", "platform"] as const;
  const given = texts.flatMap((key) => {
    const value = input.text(`--${key}`);
    return value === undefined ? [] : [[key, value] as const];
  });
  const kind = input.text("--kind");
  return {
    root: input.arg(0).startsWith("oci://") ? input.arg(0) : place(input.arg(0)),
    env: storeSettings(input.arg(0), context.env),
    lockfiles: input.all("--lockfile").map(place),
    environments: input.all("--environment").map(place),
    datasets: input.all("--dataset").map(place),
    progress: context.progress,
    signal: context.signal,
    ...(Object.fromEntries(given) as { readonly [K in (typeof texts)[number]]?: string }),
    ...(kind === undefined ? {} : { kind: kind as SubjectKind }),
    ...(input.on("--dated") ? { now: context.clock.now(), toolVersion: context.version } : {}),
  };
}

/** To a file, whole or not at all, or to standard output. */
export async function writeDocument(
  context: CommandContext,
  output: string | undefined,
  document: JsonObject,
): Promise<CommandResult> {
  const text = `${JSON.stringify(document, null, 2)}\n`;
  if (output === undefined) return { data: document, text };
  await writeFileAtomic(resolve(context.cwd, output), utf8(text));
  const list = document.components ?? document["@graph"];
  const components = Array.isArray(list) ? list.length : 0;
  const what = document.components === undefined ? "elements" : "components";
  return { data: { output, [what]: components }, text: `wrote ${output}: ${components} ${what}` };
}
