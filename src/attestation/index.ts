/** Floor 5: evidence of an environment, collected and judged. */
export type { AttestedClaims, Evidence, EvidenceCollector, EvidenceVerifier } from "./attestation.ts";
export { attestationError } from "./errors.ts";
export { createInsecureDevCollector } from "./insecure-dev/collector.ts";
export { INSECURE_DEV_KIND } from "./insecure-dev/format.ts";
export { type LaunchDescription, launchDescription, measureLaunch, parseLaunch } from "./insecure-dev/launch.ts";
export { createInsecureDevVerifier } from "./insecure-dev/verifier.ts";
export { ATTESTATION_LIMITS } from "./limits.ts";
export { createRegistry, createVerifiers, type VerifierOptions, type VerifierRegistry } from "./registry.ts";
