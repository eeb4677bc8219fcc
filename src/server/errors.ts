/** Errors of the server. */
import { defineErrors, EXIT } from "../base/index.ts";

export const serverError = defineErrors("server", {
  CONFIG_INVALID: {
    status: 500,
    exit: EXIT.usage,
    title: "The configuration is not valid",
    hint: "modelkeep config show --origin",
  },
  FORBIDDEN: {
    status: 403,
    exit: EXIT.denied,
    title: "Policy does not allow this",
    hint: "an administrator sees why: modelkeep audit list --outcome refused",
  },
  INVALID_BODY: { status: 400, exit: EXIT.usage, title: "The request is not valid" },
  NO_SUCH_ROUTE: { status: 404, exit: EXIT.failed, title: "There is no such route" },
  MISDIRECTED: {
    status: 421,
    exit: EXIT.failed,
    title: "This server does not answer for that host",
    hint: "set public_url in the configuration",
  },
  BODY_TOO_LARGE: { status: 413, exit: EXIT.failed, title: "The body is too large" },
  SERVER_BUSY: {
    status: 503,
    exit: EXIT.unreachable,
    title: "The server holds as many bytes of requests as it may",
    hint: "try again in a second",
  },
  NOT_READY: { status: 503, exit: EXIT.unreachable, title: "The server is not ready" },
  MODEL_NOT_FOUND: { status: 404, exit: EXIT.failed, title: "There is no such model", hint: "modelkeep model list" },
  MODEL_EXISTS: {
    status: 409,
    exit: EXIT.failed,
    title: "This version of the model is already published",
    hint: "publish it under another --version",
  },
  PUBLICATION_REFUSED: { status: 422, exit: EXIT.verificationFailed, title: "The publication does not hold together" },
  WAIVER_REFUSED: {
    status: 422,
    exit: EXIT.usage,
    title: "The weakness cannot be accepted so",
    hint: "modelkeep advisories waive --help",
  },
  WAIVER_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such waiver",
    hint: "modelkeep advisories waivers",
  },
  IDENTITY_KEY_DAMAGED: {
    status: 500,
    exit: EXIT.failed,
    title: "A key of the server's identity is not what was stored",
    hint: "modelkeep identity rotate",
  },
  IDENTITY_KEYS_LIMIT: {
    status: 409,
    exit: EXIT.failed,
    title: "Too many keys of the server's identity still have valid tokens",
    hint: "rotate again tomorrow",
  },
  LISTEN_FAILED: {
    status: 500,
    exit: EXIT.failed,
    title: "The server cannot listen",
    hint: "choose another with --listen HOST:PORT",
  },
});
