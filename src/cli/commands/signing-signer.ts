/** With what a command signs: a key wherever it lives, alone or with its certificate, or an identity in its place. */
import { type KeylessModelSigner, type ModelSigner, openSigner } from "../../signing/index.ts";
import type { CommandContext, CommandInput, CommandOption } from "../command.ts";
import { KEYLESS_OPTIONS, openKeyless } from "./signing-keyless.ts";
import { readCertificates, SIGNER_OPTIONS } from "./signing-trust.ts";

/** What `--key` takes, wherever a command signs. */
export const KEY_ABOUT =
  "EC key that signs: PEM file of mode 0600, or a URI (pkcs11:, vault://, awskms://, gcpkms://, azurekms://)";

/** `--key`, what goes with it, and `--keyless`. */
export const ANY_SIGNER_OPTIONS: readonly CommandOption[] = [
  { flag: "--key", value: "KEY", about: KEY_ABOUT },
  ...SIGNER_OPTIONS,
  ...KEYLESS_OPTIONS,
];

export interface AskedSigner {
  readonly signer: ModelSigner;
  /** The same one when it is an identity. */
  readonly keyless: KeylessModelSigner | undefined;
}

/** Throws USAGE for options that do not go together, and what opening the key throws. */
export async function readSigner(context: CommandContext, input: CommandInput): Promise<AskedSigner> {
  const keyless = await openKeyless(context, input);
  if (keyless) return { signer: keyless, keyless };
  const signer = await readCertificates(context, input, await openSigner(input.need("--key"), context));
  return { signer, keyless: undefined };
}
