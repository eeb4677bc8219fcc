/** Error codes of the attestation module. */
import { defineErrors, EXIT, ModelkeepError } from "../base/index.ts";

export const attestationError = defineErrors("attestation", {
  EVIDENCE_REFUSED: {
    status: 403,
    exit: EXIT.verificationFailed,
    title: "The evidence was refused",
    hint: "modelkeep attest explain EVIDENCE --kind KIND",
  },
  PROFILE_INVALID: {
    status: 400,
    exit: EXIT.failed,
    title: "The appraisal profile is not valid",
    hint: "correct the line; spec/appraisal-profile.md lists every field",
  },
  COLLATERAL_UNREADABLE: {
    status: 400,
    exit: EXIT.failed,
    title: "A file of the collateral is none of the known forms",
    hint: "modelkeep collateral fetch --help",
  },
  COLLATERAL_UNREACHABLE: {
    status: 503,
    exit: EXIT.unreachable,
    title: "A vendor's service does not give the collateral",
    hint: "try again later, or import a bundle: modelkeep collateral import FILE --trust PEM",
  },
  COLLATERAL_BUNDLE_INVALID: {
    status: 400,
    exit: EXIT.verificationFailed,
    title: "The bundle of collateral is not what a trusted key signed",
    hint: "modelkeep collateral import FILE --trust PEM",
  },
  COLLATERAL_ROLLBACK: {
    status: 409,
    exit: EXIT.verificationFailed,
    title: "The bundle is older than the one that was imported before",
    hint: "export a new one: modelkeep collateral export",
  },
  REFERENCE_INVALID: {
    status: 400,
    exit: EXIT.verificationFailed,
    title: "The reference values are not what a trusted key signed",
    hint: "get them again from who builds the image, and name that key with --reference-key",
  },
  REFERENCE_EXPIRED: {
    status: 400,
    exit: EXIT.verificationFailed,
    title: "The reference values are no longer good, or not yet",
    hint: "get newer ones from who builds the image: modelkeep attest reference sign",
  },
  REFERENCE_ROLLBACK: {
    status: 409,
    exit: EXIT.verificationFailed,
    title: "The reference values are older than those that were used before",
    hint: "put the newest statement there; older ones may name images that were withdrawn",
  },
  NO_PROFILE: {
    status: 404,
    exit: EXIT.failed,
    title: "This server judges no evidence",
    hint: "modelkeep serve --attestation-profile FILE",
  },
  EAR_INVALID: {
    status: 400,
    exit: EXIT.verificationFailed,
    title: "The attestation result is not valid",
    hint: "modelkeep attest verify --ear-key PEM makes a new one",
  },
  EAR_KEYS_DAMAGED: {
    status: 500,
    exit: EXIT.failed,
    title: "The server's key for attestation results is damaged",
    hint: "modelkeep attest ear rotate",
  },
  EAR_KEYS_LIMIT: {
    status: 429,
    exit: EXIT.unreachable,
    title: "Too many keys of attestation results still have valid tokens",
    hint: "wait until they have ended: modelkeep attest ear keys",
  },
  COLLECT_UNAVAILABLE: {
    status: 500,
    exit: EXIT.failed,
    title: "This machine has no TEE that gives evidence",
    hint: "modelkeep doctor",
  },
  COLLECT_FAILED: {
    status: 500,
    exit: EXIT.failed,
    title: "The TEE gave no evidence",
    hint: "try again; when it stays so, look at the kernel's log: dmesg",
  },
  LAUNCH_INVALID: { status: 400, exit: EXIT.usage, title: "The launch description is not valid" },
  INSECURE_NOT_ALLOWED: {
    status: 500,
    exit: EXIT.usage,
    title: "Evidence that proves nothing needs an explicit permission",
    hint: "only for development: modelkeep serve --insecure-dev-attestation",
  },
});

/** A refusal names its rule and never what was expected. */
export function evidenceRefused(rule: string, cause?: unknown): ModelkeepError {
  return attestationError("EVIDENCE_REFUSED", { detail: rule, extra: { rule }, ...(cause ? { cause } : {}) });
}

/** The rule of a refusal; undefined for any other error. */
export function refusedRule(error: unknown): string | undefined {
  const rule = error instanceof ModelkeepError && error.code === "EVIDENCE_REFUSED" ? error.extra?.rule : undefined;
  return typeof rule === "string" ? rule : undefined;
}
