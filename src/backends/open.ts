/** Opens the key that a URI names. */
import { openAwsSigner, openAwsWrapper } from "./aws/kms.ts";
import { openAzureSigner, openAzureWrapper } from "./azure/keys.ts";
import { backendError } from "./errors.ts";
import { openGoogleSigner, openGoogleWrapper } from "./google/kms.ts";
import { openKeyFile } from "./key-file/key-file.ts";
import type { KeyWrapper } from "./key-wrapper.ts";
import { openPassphrase } from "./passphrase/passphrase.ts";
import { openPkcs11Signer, openPkcs11Wrapper } from "./pkcs11/pkcs11.ts";
import type { BackendPorts } from "./ports.ts";
import type { SigningBackend } from "./signing-backend.ts";
import { openVaultSigner, openVaultWrapper } from "./vault/transit.ts";

/**
 * `file:///PATH`, `passphrase:`, `pkcs11:…`, `vault://HOST/MOUNT/KEY`, `awskms://REGION/KEY`, `gcpkms://projects/…` or
 * `azurekms://HOST/KEY`; other kinds throw KMS_URI_UNKNOWN. A key that is not there is never made here: see
 * `createKeyFile`.
 */
export async function openKeyWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  if (/^file:\/\/\/./.test(uri)) return openKeyFile(uri, ports.random);
  if (uri.startsWith("pkcs11:")) return openPkcs11Wrapper(uri, ports);
  if (uri.startsWith("vault://")) return openVaultWrapper(uri, ports);
  if (uri.startsWith("awskms://")) return openAwsWrapper(uri, ports);
  if (uri.startsWith("gcpkms://")) return openGoogleWrapper(uri, ports);
  if (uri.startsWith("azurekms://")) return openAzureWrapper(uri, ports);
  if (uri.startsWith("passphrase:")) return openPassphrase(uri, ports);
  throw unknown(uri);
}

/** The same services; key files and passphrases wrap and do not sign. */
export async function openSigningKey(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  if (uri.startsWith("pkcs11:")) return openPkcs11Signer(uri, ports);
  if (uri.startsWith("vault://")) return openVaultSigner(uri, ports);
  if (uri.startsWith("awskms://")) return openAwsSigner(uri, ports);
  if (uri.startsWith("gcpkms://")) return openGoogleSigner(uri, ports);
  if (uri.startsWith("azurekms://")) return openAzureSigner(uri, ports);
  throw unknown(uri);
}

function unknown(uri: string): Error {
  return backendError("KMS_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
}
