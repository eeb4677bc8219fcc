/** Reads the value of a secret from where no process list, history or environment can show it. */
import { resolve } from "node:path";
import { wipe } from "../../base/index.ts";
import { type ApiClient, getTransportKey } from "../../contract/index.ts";
import { readFileBounded } from "../../host/index.ts";
import { SECRET_LIMITS, sealValue, secretError } from "../../secrets/index.ts";
import type { CommandContext, CommandInput } from "../command.ts";
import { cliError } from "../errors.ts";
import { promptHidden } from "../prompt.ts";

/** From --from-file, a prompt without echo on a terminal, or stdin. One newline at the end is cut off. */
export async function readSecretValue(context: CommandContext, input: CommandInput): Promise<Uint8Array> {
  const file = input.text("--from-file");
  const read = file
    ? await readFileBounded(resolve(context.cwd, file), SECRET_LIMITS.valueBytes)
    : ((await promptHidden("Value (not shown): ", SECRET_LIMITS.valueBytes)) ??
      (await context.stdin(SECRET_LIMITS.valueBytes)));
  const value = withoutNewline(read);
  if (value.length === 0)
    throw secretError("SECRET_VALUE_INVALID", { hint: "give it on stdin or with --from-file FILE" });
  return value;
}

/** Undefined without the option; throws USAGE for what is no whole number. */
export function readCount(input: CommandInput, flag: string): number | undefined {
  const text = input.text(flag);
  if (text !== undefined && !/^[0-9]{1,9}$/.test(text))
    throw cliError("USAGE", { detail: `${flag} ${text.slice(0, 20)} is not a number` });
  return text === undefined ? undefined : Number(text);
}

function withoutNewline(bytes: Uint8Array): Uint8Array {
  const end = bytes.at(-1) === 0x0a ? (bytes.at(-2) === 0x0d ? -2 : -1) : bytes.length;
  return bytes.subarray(0, end);
}

/** Seals to the server's key and wipes the value. */
export async function sealForServer(api: ApiClient, name: string, value: Uint8Array) {
  try {
    const key = await api.call(getTransportKey, {});
    const sealed = sealValue(value, { keyId: key.key_id, publicKey: key.public_key }, { direction: "put", name });
    return { key_id: sealed.keyId, enc: sealed.enc, ciphertext: sealed.ciphertext };
  } finally {
    wipe(value);
  }
}
