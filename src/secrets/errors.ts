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
    title: "The name of a secret is letters, digits, . _ -, at most 100 characters",
  },
  SECRET_VALUE_INVALID: { status: 400, exit: EXIT.usage, title: "The value of the secret is empty or too long" },
  SECRET_DAMAGED: { status: 500, exit: EXIT.failed, title: "The record of the secret cannot be read" },
  SECRET_CHANGED: {
    status: 409,
    exit: EXIT.failed,
    title: "The secret was changed by somebody else at the same time",
    hint: "type the command again",
  },
  LEASE_NOT_FOUND: {
    status: 404,
    exit: EXIT.failed,
    title: "There is no such open lease",
    hint: "modelkeep lease list",
  },
  LEASE_TTL_INVALID: { status: 400, exit: EXIT.usage, title: "The lease's time is out of its bounds" },
  LEASE_LIMIT: { status: 429, exit: EXIT.failed, title: "Too many leases are open" },
  TRANSPORT_KEY_UNKNOWN: {
    status: 409,
    exit: EXIT.failed,
    title: "The value was sealed to another key of the server",
    hint: "type the command again",
  },
  TRANSPORT_SEAL_INVALID: { status: 400, exit: EXIT.failed, title: "The sealed value cannot be opened" },
  SECRETS_CLOSED: { status: 503, exit: EXIT.unreachable, title: "The server is stopping" },
});
