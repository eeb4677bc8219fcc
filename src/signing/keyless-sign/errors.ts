/** Errors of keyless signing: what a service did, and at which step; never what it was sent. */
import { defineErrors, EXIT } from "../../base/index.ts";

export const keylessError = defineErrors("keyless", {
  KEYLESS_SETTINGS_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The services of keyless signing are not named in a usable way",
    hint: "modelkeep help sign",
  },
  KEYLESS_TOKEN_MISSING: {
    status: 400,
    exit: EXIT.failed,
    title: "There is no identity token",
    hint: "name a file with --identity-token-file, set SIGSTORE_ID_TOKEN, or give the workflow `id-token: write`",
  },
  KEYLESS_TOKEN_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The identity token cannot be used",
    hint: "get a fresh one from the identity provider, for the audience sigstore",
  },
  KEYLESS_TOKEN_REFUSED: {
    status: 403,
    exit: EXIT.denied,
    title: "The certificate authority does not accept the identity token",
    hint: "get a fresh one, from an identity provider that this authority knows",
  },
  KEYLESS_UNREACHABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "A service of keyless signing cannot be reached",
    hint: "try again, or name another instance with --signing-config",
  },
  KEYLESS_SERVICE_REFUSED: {
    status: 502,
    exit: EXIT.failed,
    title: "A service of keyless signing refused the request",
  },
  KEYLESS_ANSWER_INVALID: {
    status: 502,
    exit: EXIT.failed,
    title: "The answer of a service of keyless signing is not understood",
  },
  KEYLESS_CERTIFICATE_WRONG: {
    status: 502,
    exit: EXIT.failed,
    title: "The certificate is not one for this key and identity under the trusted root",
    hint: "name the instance's own root with --trusted-root, and who signs with --identity and --issuer",
  },
  KEYLESS_TIMESTAMP_WRONG: { status: 502, exit: EXIT.failed, title: "The timestamp is not one for this signature" },
  KEYLESS_UNPROVEN: {
    status: 502,
    exit: EXIT.failed,
    title: "What the services gave does not verify under the trusted root, so that no signature was made",
    hint: "name the instance's own root with --trusted-root",
  },
});
