/** Floor 6: a key for an environment that proved what it is; both halves. */
export { deviceNonceOf, digestDevices, type ReleaseBinding, reportDataOf } from "./binding.ts";
export { type PackageKeyRequest, requestPackageKey } from "./client.ts";
export { keyNotGranted } from "./errors.ts";
export { RELEASE_LIMITS } from "./limits.ts";
export type { Challenge, ReleasableModel, ReleasePorts, ReleaseService } from "./release.ts";
export { createReleaseService } from "./service.ts";
