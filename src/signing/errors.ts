/** Errors of signing; "does not verify" and "could not verify" are different exit codes. */
import { defineErrors, EXIT } from "../base/index.ts";

export const signingError = defineErrors("signing", {
  SIGNING_KEY_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The key cannot sign models",
    hint: "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signer.pem",
  },
  SIGNING_KEY_ENCRYPTED: {
    status: 400,
    exit: EXIT.failed,
    title: "The private key is protected by a passphrase, which is not supported yet",
    hint: "openssl pkcs8 -topk8 -nocrypt -in KEY -out PLAIN, then chmod 600 PLAIN",
  },
  SIGNING_KEY_EXPOSED: { status: 400, exit: EXIT.failed, title: "The private key is open to other users" },
  SIGNER_SIGNED_WRONG: {
    status: 502,
    exit: EXIT.failed,
    title: "The key service made a signature that its own public key does not verify",
    hint: "was the key rotated a moment ago? try again",
  },
  PUBLIC_KEY_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The public key cannot be used",
    hint: "openssl pkey -in signer.pem -pubout -out signer.pub makes the public key of a private one",
  },
  BUNDLE_INVALID: { status: 400, exit: EXIT.failed, title: "The signature file is not understood" },
  BUNDLE_LEGACY: {
    status: 400,
    exit: EXIT.failed,
    title: "The signature has the format of model-signing 0.2.0, which nothing can verify safely",
    hint: "ask the signer for a new signature",
  },
  CERTIFICATE_INVALID: { status: 400, exit: EXIT.failed, title: "The certificate cannot be used" },
  TRUSTED_ROOT_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The trusted root cannot be used",
    hint: "leave --trusted-root out to use that of the public Sigstore instance",
  },
  SIGNING_METHOD_UNSUPPORTED: {
    status: 400,
    exit: EXIT.failed,
    title: "This way of signing is not supported yet",
    hint: "modelkeep help sign",
  },
  SIGNATURE_INVALID: { status: 422, exit: EXIT.verificationFailed, title: "The signature does not verify" },
  SIGNER_NOT_TRUSTED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "The signer is not one of the trusted ones",
    hint: "name its public key with --public-key or --trust",
  },
  CERTIFICATE_NOT_TRUSTED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "The signer's certificate is not one that a named authority answers for",
    hint: "ask the signer for a signature under an authority that you trust",
  },
  CERTIFICATE_REVOKED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "A certificate that the signature depends on was revoked",
    hint: "ask the signer for a signature under a certificate that holds",
  },
  REVOCATION_UNKNOWN: {
    status: 400,
    exit: EXIT.failed,
    title: "Nothing here says whether a certificate was revoked",
    hint: "name a current list of its issuer with --crl",
  },
  CRL_UNREADABLE: {
    status: 400,
    exit: EXIT.failed,
    title: "The revocation list cannot be used",
    hint: "openssl crl -in FILE -noout -text shows what it is",
  },
  LOG_NOT_PROVEN: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "Neither a log nor a timestamp proves when the signature was made",
    hint: "name the trusted root of the signer's Sigstore instance with --trusted-root",
  },
  PREDICATE_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The statement does not hold what its type asks for",
  },
  DESCRIPTOR_INVALID: { status: 400, exit: EXIT.failed, title: "The training descriptor cannot be used" },
  SIGNER_POLICY_INVALID: { status: 400, exit: EXIT.failed, title: "The signer policy cannot be used" },
  SIGNER_POLICY_REFUSED: {
    status: 422,
    exit: EXIT.verificationFailed,
    title: "The signer policy does not accept this model",
    hint: "modelkeep verify MODEL --policy FILE --model NAME@VERSION lists what is missing",
  },
  MODEL_NOT_AS_SIGNED: { status: 422, exit: EXIT.verificationFailed, title: "The model is not what was signed" },
});
