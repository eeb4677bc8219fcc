/** Error codes of the SDK and its local agent. */
import { defineErrors, EXIT } from "../base/index.ts";

export const sdkError = defineErrors("sdk", {
  AGENT_KEY_REFUSED: {
    status: 401,
    exit: EXIT.denied,
    title: "The agent does not know this key",
    hint: "take OPENAI_API_KEY from the environment that the agent started you with",
  },
  AGENT_MISDIRECTED: { status: 421, exit: EXIT.failed, title: "The agent answers for its own address only" },
  AGENT_PATH_REFUSED: { status: 404, exit: EXIT.failed, title: "The agent passes on what is under /v1" },
  AGENT_BODY_TOO_LARGE: { status: 413, exit: EXIT.failed, title: "The body is too large for the agent" },
  AGENT_UPSTREAM_UNREACHABLE: {
    status: 502,
    exit: EXIT.unreachable,
    title: "The Modelkeep server cannot be reached",
    hint: "modelkeep serve",
  },
  CHECK_OUT_ENDED: {
    status: 409,
    exit: EXIT.failed,
    title: "The secret was checked in, its time is over, or the lease was revoked",
    hint: "check it out again",
  },
  AGENT_NOT_ENROLLED: {
    status: 502,
    exit: EXIT.denied,
    title: "The agent has no token",
    hint: "modelkeep token issue --for WORKLOAD makes a new one-time code",
  },
});
