/** Errors of outside key services; "it said no" and "it could not be asked" have different exit codes. */
import { defineErrors, EXIT } from "../base/index.ts";

export const backendError = defineErrors("backends", {
  KMS_URI_UNKNOWN: {
    status: 400,
    exit: EXIT.usage,
    title: "That key URI is not known",
    hint: "file:///PATH, passphrase:, pkcs11:token=T;object=K, vault://HOST:PORT/MOUNT/KEY, awskms://REGION/KEY, gcpkms://projects/… or azurekms://HOST/KEY",
  },
  KMS_KEY_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "The key file does not exist",
    hint: "modelkeep kms init file:///PATH",
  },
  KMS_KEY_INVALID: { status: 500, exit: EXIT.failed, title: "The key file cannot be used" },
  KMS_KEY_UNWRITABLE: { status: 500, exit: EXIT.failed, title: "The key file cannot be written" },
  KMS_KEY_NOT_FOUND: {
    status: 502,
    exit: EXIT.failed,
    title: "The key service has no such key",
    hint: "make it with the service's own tool, or correct the URI",
  },
  KMS_KEY_DISABLED: { status: 502, exit: EXIT.failed, title: "The key is disabled or about to be deleted" },
  KMS_KEY_UNFIT: { status: 502, exit: EXIT.failed, title: "The key is not made for that" },
  KMS_CREDENTIALS_MISSING: {
    status: 500,
    exit: EXIT.failed,
    title: "There are no credentials for the key service",
    hint: "docs/guides/keys-elsewhere.md says where they are looked up",
  },
  KMS_CREDENTIALS_REFUSED: {
    status: 502,
    exit: EXIT.denied,
    title: "The key service does not accept the credentials",
    hint: "export others: docs/guides/keys-elsewhere.md says where they are looked up, and in which order",
  },
  KMS_WRAPPING_USED: {
    status: 409,
    exit: EXIT.verificationFailed,
    title: "The wrapping token of a login is not to be used: take what it held as read by somebody",
    hint: "destroy that secret id, and have another one wrapped: vault write -wrap-ttl=5m -f auth/approle/role/ROLE/secret-id",
  },
  KMS_PIN_LOCKED: {
    status: 502,
    exit: EXIT.denied,
    title: "The token's PIN is locked after too many wrong ones",
    hint: "the token's security officer sets a new one",
  },
  KMS_DENIED: {
    status: 502,
    exit: EXIT.denied,
    title: "The key service does not allow that with this key",
    hint: "allow it in the key's policy: docs/guides/keys-elsewhere.md names what is needed",
  },
  KMS_THROTTLED: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The key service has too many requests",
    hint: "try again in a minute, or raise its quota",
  },
  KMS_UNREACHABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The key service cannot be reached",
    hint: "try again; if it stays, is the host of the URI right, and open from here?",
  },
  KMS_TLS_REFUSED: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The key service's certificate is not to be trusted",
    hint: "name its authority, a file in PEM: VAULT_CACERT, AWS_CA_BUNDLE or SSL_CERT_FILE",
  },
  KMS_SEALED: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The key service is up but sealed, on standby or not initialised",
    hint: "unseal it, or name the active node in the URI",
  },
  KMS_ANSWER_INVALID: {
    status: 502,
    exit: EXIT.failed,
    title: "The key service's answer is not understood",
    hint: "is it the service that the URI names, without a proxy in between?",
  },
  KMS_REFUSED: { status: 502, exit: EXIT.failed, title: "The key service refused the request" },
  PKCS11_MODULE_INVALID: {
    status: 500,
    exit: EXIT.failed,
    title: "The PKCS#11 module cannot be used",
    hint: "name its file: ?module-path=/usr/lib/softhsm/libsofthsm2.so, or MODELKEEP_PKCS11_MODULE",
  },
  PKCS11_TOKEN_MISSING: { status: 502, exit: EXIT.failed, title: "No slot holds the token that the URI names" },
  UNWRAP_FAILED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "The wrapped key does not open",
    hint: "is it the key, the package and the model it was wrapped for?",
  },
});
