/** Where chains of NVIDIA must end: SHA-256 of the DER of each pinned certificate. */

/** "NVIDIA Device Identity CA", of GPUs and switches. */
export const NVIDIA_DEVICE_ANCHORS: readonly string[] = [
  "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48",
];

/** "NVIDIA CoRIM signing Root CA", of reference manifests. */
export const NVIDIA_RIM_ANCHORS: readonly string[] = [
  "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1",
];

/** "NVIDIA Attestation Service GPU Intermediate 004": the service's key set ends one step below its root. */
export const NVIDIA_NRAS_ANCHORS: readonly string[] = [
  "2df8907cf4d6c277b855d407ec178a649930a8e73f7294e8fce66e6ee27c5175",
];
