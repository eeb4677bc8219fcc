/** Limits of key services. */
export const BACKEND_LIMITS = {
  /** A secret to wrap. */
  wrappedKeyBytes: 1_024,
  keyFileBytes: 64 * 1024,
  /** Keys in one key file; the last one wraps, all unwrap. */
  keyFileVersions: 500,
  uriCharacters: 2_048,
  /** A file that holds a token, a PIN or an AWS profile. */
  credentialFileBytes: 64 * 1024,
  caFileBytes: 1024 * 1024,
  /** A wrapped secret as a service gives it back. */
  ciphertextBytes: 6 * 1024,
  answerBytes: 256 * 1024,
  answerHeadBytes: 16 * 1024,
  connectMilliseconds: 5_000,
  answerMilliseconds: 10_000,
  /** Everything that one call to a service may take, retries and waits included. */
  callMilliseconds: 30_000,
  /** Of one request that may be repeated. */
  attempts: 4,
  /** The first wait before a repeat; it doubles, and a random part of it is waited. */
  backoffMilliseconds: 200,
  /** The longest wait, also when the service asks for more. */
  backoffMaxMilliseconds: 4_000,
  connections: 8,
  /** Wrapped secret ids that one process opens. */
  wrappedSecretIds: 64,
  /** An access token of a cloud's login. */
  accessTokenBytes: 16 * 1024,
  /** How long before its end a login is renewed, at most half of its life. */
  renewEarlyMilliseconds: 300_000,
  /** For the service that tells a machine who it is; elsewhere nobody answers. */
  metadataMilliseconds: 1_500,
  /** Of Argon2id, when a passphrase opens what somebody else may have written. */
  passphraseMemoryKib: 1024 * 1024,
  passphrasePasses: 16,
  /** Memory times passes. */
  passphraseWorkKib: 2 * 1024 * 1024,
  passphraseLanes: 16,
  passphraseBytes: 1_024,
  /** Sessions with one PKCS#11 token. */
  pkcs11Sessions: 4,
  pkcs11Slots: 256,
  /** Bytes of one attribute of a PKCS#11 object. */
  pkcs11AttributeBytes: 4_096,
  pkcs11ModuleBytes: 256 * 1024 * 1024,
  pinBytes: 256,
} as const;
