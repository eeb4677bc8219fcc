/** Errors of the file scanner. */
import { defineErrors, EXIT } from "../base/index.ts";

export const scanError = defineErrors("scan", {
  SCAN_STOPPED: { status: 499, exit: EXIT.interrupted, title: "The scan was interrupted" },
});
