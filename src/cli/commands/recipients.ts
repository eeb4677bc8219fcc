/** modelkeep recipients list, add, remove: who may open a sealed model, without a look at its payload. */
import { addRecipients, inspectSealed, type KeyEnvelope, removeRecipients } from "../../sealing/index.ts";
import type { Command, CommandContext, CommandInput } from "../command.ts";
import { openPlace, PREFIX, SEALED } from "./sealing.ts";
import { FROM_KMS, FROM_PASSPHRASE_FILE, openFormerWrappers, openWrappers, PASSPHRASE_FILE } from "./wrappers.ts";

async function sealedPlace(context: CommandContext, input: CommandInput) {
  return { store: await openPlace(context, input.arg(0)), prefix: input.text("--prefix") ?? "" };
}

type Shown = Readonly<Record<"kms" | "key_id" | "key_version", string>>;

const lineOf = ({ kms, key_id, key_version }: Shown): string => `${kms}  key ${key_id}  version ${key_version}`;

function shownOf(envelope: KeyEnvelope): Shown[] {
  return envelope.recipients.map(({ ciphertext: _, ...shown }) => shown);
}

export const recipientsList: Command = {
  name: "recipients list",
  about: "Who may open a sealed model, as its envelope says. Nothing is verified and no key is needed.",
  examples: [{ line: "modelkeep recipients list ./sealed", about: "a line for each key" }],
  args: [SEALED],
  options: [PREFIX],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const { packageId, recipients } = await inspectSealed(store, prefix);
    const shown = recipients.map(({ kms, keyId, keyVersion }) => ({ kms, key_id: keyId, key_version: keyVersion }));
    const data = { verified: false, package_id: packageId, recipients: shown };
    return { data, text: shown.length > 0 ? shown.map(lineOf) : ["nobody: the model was shredded"] };
  },
};

export const recipientsAdd: Command = {
  name: "recipients add",
  about: "Let one more KMS key open a sealed model. The payload stays, and so do the others.",
  examples: [
    {
      line: "modelkeep recipients add ./sealed --from-kms file:///etc/modelkeep/models.kek --kms awskms://eu-central-1/alias/models",
      about: "the key file opens it, and AWS KMS as well from now on",
    },
    {
      line: "modelkeep recipients add ./sealed --from-kms file:///etc/modelkeep/models.kek --kms passphrase:",
      about: "a way in for the day on which the KMS is gone",
    },
  ],
  args: [SEALED],
  options: [
    { flag: "--kms", value: "URI", about: "key that may open it, too", repeatable: true, required: true },
    PASSPHRASE_FILE,
    { ...FROM_KMS, about: "key that opens it now", required: true },
    FROM_PASSPHRASE_FILE,
    PREFIX,
  ],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const from = (await openFormerWrappers(context, input)) ?? [];
    const envelope = await addRecipients(store, prefix, from, await openWrappers(context, input));
    const recipients = shownOf(envelope);
    return { data: { package_id: envelope.package_id, recipients }, text: recipients.map(lineOf) };
  },
};

export const recipientsRemove: Command = {
  name: "recipients remove",
  about: "Take a KMS key out of a sealed model's envelope; its service is not asked. The last one stays: see shred.",
  examples: [
    {
      line: "modelkeep recipients remove ./sealed --kms vault://old.example:8200/transit/models --from-kms file:///etc/modelkeep/models.kek",
      about: "by its URI",
    },
    {
      line: "modelkeep recipients remove ./sealed --kms KEY-ID --from-kms file:///etc/modelkeep/models.kek",
      about: "by the id that `recipients list` shows, where several have one URI",
    },
  ],
  args: [SEALED],
  options: [
    { flag: "--kms", value: "URI|ID", about: "key that may open it no longer", repeatable: true, required: true },
    { ...FROM_KMS, about: "key that opens it now, and stays", required: true },
    FROM_PASSPHRASE_FILE,
    PREFIX,
  ],
  async run(context, input) {
    const { store, prefix } = await sealedPlace(context, input);
    const names = input.all("--kms");
    const from = (await openFormerWrappers(context, input)) ?? [];
    const envelope = await removeRecipients(store, prefix, from, names);
    context.talk("who had this key may have kept the model's, or an older envelope: seal anew to be sure of them");
    const recipients = shownOf(envelope);
    const data = { package_id: envelope.package_id, removed: names, recipients };
    return { data, text: [`removed ${names.join(", ")}`, ...recipients.map(lineOf)] };
  },
};
