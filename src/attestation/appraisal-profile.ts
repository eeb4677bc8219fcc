/** The appraisal profile: one YAML file that says which TEEs are accepted, and in which state. */
import { z } from "zod";
import { readYaml } from "./appraisal-yaml.ts";
import { azureProfile } from "./azure/profile.ts";
import { attestationError } from "./errors.ts";
import { nvidiaProfile } from "./nvidia/profile.ts";
import { sgxProfile } from "./sgx/profile.ts";
import { snpProfile } from "./snp/profile.ts";
import { tdxProfile } from "./tdx/profile.ts";

export const profileName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$/, "small letters, digits, dots and dashes");

export const appraisalProfile = z.strictObject({
  version: z.literal(1).default(1).describe("Of this file's form"),
  name: profileName.default("default").describe("How results name this profile"),
  snp: snpProfile.optional().describe("AMD SEV-SNP; absent: not accepted"),
  tdx: tdxProfile.optional().describe("Intel TDX; absent: not accepted"),
  sgx: sgxProfile.optional().describe("Intel SGX; absent: not accepted"),
  nvidia: nvidiaProfile.optional().describe("NVIDIA GPUs and switches; absent: not accepted"),
  azure: azureProfile.optional().describe("Azure's virtual TPM, beside snp or tdx; absent: not accepted"),
});

export type AppraisalProfile = z.output<typeof appraisalProfile>;
export type AppraisalProfileInput = z.input<typeof appraisalProfile>;

export const TEE_KINDS = ["snp", "tdx", "sgx", "nvidia"] as const;
export type TeeKind = (typeof TEE_KINDS)[number];

/** YAML or JSON. Throws PROFILE_INVALID with the line, the field and the reason of every problem. */
export function parseAppraisalProfile(file: Uint8Array): AppraisalProfile {
  return readYaml(file, appraisalProfile, (detail) => attestationError("PROFILE_INVALID", { detail }));
}
