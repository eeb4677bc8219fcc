/** Opens the key that a URI names. */
import { openAwsSigner, openAwsWrapper } from "./aws/kms.ts";
import { backendError } from "./errors.ts";
import { openKeyFile } from "./key-file/key-file.ts";
import type { KeyWrapper } from "./key-wrapper.ts";
import { openPkcs11Signer, openPkcs11Wrapper } from "./pkcs11/pkcs11.ts";
import type { BackendPorts } from "./ports.ts";
import type { SigningBackend } from "./signing-backend.ts";
import { openVaultSigner, openVaultWrapper } from "./vault/transit.ts";

/**
 * `file:///PATH`, `pkcs11:…`, `vault://HOST/MOUNT/KEY` or `awskms://REGION/KEY`; other kinds throw KMS_URI_UNKNOWN. A
 * key that is not there is never made here: see `createKeyFile`.
 */
export async function openKeyWrapper(uri: string, ports: BackendPorts): Promise<KeyWrapper> {
  if (/^file:\/\/\/./.test(uri)) return openKeyFile(uri, ports.random);
  if (uri.startsWith("pkcs11:")) return openPkcs11Wrapper(uri, ports);
  if (uri.startsWith("vault://")) return openVaultWrapper(uri, ports);
  if (uri.startsWith("awskms://")) return openAwsWrapper(uri, ports);
  throw unknown(uri);
}

/** The same services; a key file wraps and does not sign. */
export async function openSigningKey(uri: string, ports: BackendPorts): Promise<SigningBackend> {
  if (uri.startsWith("pkcs11:")) return openPkcs11Signer(uri, ports);
  if (uri.startsWith("vault://")) return openVaultSigner(uri, ports);
  if (uri.startsWith("awskms://")) return openAwsSigner(uri, ports);
  throw unknown(uri);
}

function unknown(uri: string): Error {
  return backendError("KMS_URI_UNKNOWN", { detail: uri.split(":")[0]?.slice(0, 40) ?? "" });
}
