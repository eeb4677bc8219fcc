/** Error codes of the tokens module. */
import { defineErrors, EXIT } from "../base/index.ts";

export const tokenError = defineErrors("tokens", {
  TOKEN_REFUSED: { status: 401, exit: EXIT.denied, title: "Authentication failed", hint: "modelkeep login" },
  TOKEN_STORE_UNAVAILABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The token cannot be checked now",
    hint: "try again",
  },
  TOO_MANY_PROOFS: { status: 503, exit: EXIT.unreachable, title: "Too many requests to remember", hint: "try again" },
  TOKEN_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such live token",
    hint: "modelkeep token show",
  },
  PRINCIPAL_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such principal",
    hint: "modelkeep token show",
  },
  PRINCIPAL_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The principal cannot be enrolled",
    hint: "modelkeep token issue --help",
  },
  TOKEN_LIMIT: {
    status: 429,
    exit: EXIT.failed,
    title: "The principal has too many open codes or keys",
    hint: "modelkeep token revoke --help",
  },
  TOKEN_RECORD_DAMAGED: { status: 500, exit: EXIT.failed, title: "A record of the tokens cannot be read" },
  INVALID_GRANT: { status: 400, exit: EXIT.denied, title: "The grant is not valid" },
  INVALID_DPOP_PROOF: { status: 400, exit: EXIT.denied, title: "The DPoP proof is not valid" },
  INVALID_REQUEST: { status: 400, exit: EXIT.usage, title: "The token request is not valid" },
  UNSUPPORTED_GRANT_TYPE: { status: 400, exit: EXIT.usage, title: "The grant type is not supported" },
  ENROLMENT_REFUSED: {
    status: 401,
    exit: EXIT.denied,
    title: "The server did not accept the one-time code",
    hint:
      "an administrator makes a new one: modelkeep token issue --for WORKLOAD; while there is no administrator, " +
      "the server prints a new one each time it starts, and only the last one counts",
  },
  RENEWAL_REFUSED: {
    status: 401,
    exit: EXIT.denied,
    title: "The server did not accept the key of these credentials",
    hint: "modelkeep login",
  },
  TOKEN_ANSWER_INVALID: {
    status: 502,
    exit: EXIT.failed,
    title: "The token endpoint's answer is not understood",
    hint: "check that --server names a Modelkeep server",
  },
  PROOF_KEY_INVALID: { status: 400, exit: EXIT.failed, title: "The private key cannot be used" },
});
