/** Errors of a publication. */
import { defineErrors, EXIT } from "../base/index.ts";

export const publisherError = defineErrors("publisher", {
  SCAN_NOT_CLEAN: {
    status: 422,
    exit: EXIT.findings,
    title: "The scan did not come out clean",
    hint: "modelkeep scan files MODEL shows the findings; --allow-findings leaves the decision to the server's policy",
  },
  PUBLISHED_OTHERWISE: {
    status: 409,
    exit: EXIT.failed,
    title: "This version is published already, as another package",
    hint: "publish it under another --version",
  },
  PUBLISH_STOPPED: { status: 499, exit: EXIT.interrupted, title: "The publication was stopped" },
});
