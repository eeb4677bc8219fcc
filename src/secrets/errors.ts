/** Error codes of the secrets module. */
import { defineErrors, EXIT } from "../base/index.ts";

export const secretError = defineErrors("secrets", {
  SECRET_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such secret",
    hint: "modelkeep secret list",
  },
  SECRET_NAME_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The name of a secret is letters, digits, . _ - and / between them, at most 100 characters",
  },
  SECRET_VALUE_INVALID: { status: 400, exit: EXIT.usage, title: "The value of the secret is empty or too long" },
  SECRET_DAMAGED: { status: 500, exit: EXIT.failed, title: "The record of the secret cannot be read" },
  SECRET_CHANGED: {
    status: 409,
    exit: EXIT.failed,
    title: "The secret was changed by somebody else at the same time",
    hint: "type the command again",
  },
  SECRET_VERSION_MISSING: {
    status: 409,
    exit: EXIT.failed,
    title: "There is no such version of the secret",
    hint: "modelkeep secret list",
  },
  SECRET_DRIVER_UNKNOWN: {
    status: 400,
    exit: EXIT.usage,
    title: "The server has no such driver for secrets",
    hint: "modelkeep secret put keeps the value in the server",
  },
  SECRET_REFERENCE_INVALID: { status: 400, exit: EXIT.usage, title: "The driver cannot read such a reference" },
  DOTENV_INVALID: { status: 400, exit: EXIT.usage, title: "The file is no .env file" },
  LEASE_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such open lease",
    hint: "modelkeep lease list",
  },
  LEASE_TTL_INVALID: { status: 400, exit: EXIT.usage, title: "The lease's time is out of its bounds" },
  LEASE_PURPOSE_INVALID: {
    status: 400,
    exit: EXIT.usage,
    title: "The lease must say what it is for, in at most 200 characters of one line",
    hint: "modelkeep checkout NAME --purpose TEXT -- PROGRAM",
  },
  LEASE_RULES_INVALID: { status: 400, exit: EXIT.usage, title: "The rules for leases are out of their bounds" },
  LEASE_USED_UP: {
    status: 409,
    exit: EXIT.failed,
    title: "The lease has been used as often as it may be",
    hint: "check out again",
  },
  LEASE_LIFE_OVER: {
    status: 409,
    exit: EXIT.failed,
    title: "The lease has been renewed for as long as it may be",
    hint: "check out again",
  },
  LEASE_LIMIT: {
    status: 429,
    exit: EXIT.failed,
    title: "Too many leases are open",
    hint: "modelkeep lease list",
  },
  TRANSPORT_KEY_UNKNOWN: {
    status: 409,
    exit: EXIT.failed,
    title: "The value was sealed to another key of the server",
    hint: "type the command again",
  },
  TRANSPORT_SEAL_INVALID: { status: 400, exit: EXIT.failed, title: "The sealed value cannot be opened" },
  SECRETS_CLOSED: { status: 503, exit: EXIT.unreachable, title: "The server is stopping" },
});
