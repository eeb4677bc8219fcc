/** The SGX part of an appraisal profile: every field has a default that refuses. */
import { z } from "zod";
import { dcapFields, hexList, hexOf } from "../dcap/profile.ts";

const word = z.number().int().min(0).max(65_535);

const signer = z.strictObject({
  mr_signer: hexOf(32).describe("The digest of the key that signed the enclave"),
  isv_prod_id: word.describe("The signer's number of the product"),
  minimum_isv_svn: word.describe("The lowest security version that is accepted"),
});

export const sgxProfile = z.strictObject({
  tee: z.literal("sgx").default("sgx"),
  ...dcapFields,
  allow_debug: z
    .boolean()
    .default(false)
    .describe("Accepts an enclave whose memory its host can read: development only"),
  allow_provision_key: z
    .boolean()
    .default(false)
    .describe("Accepts an enclave that may use the provisioning key, which identifies the platform"),
  mr_enclaves: hexList(32).optional().describe("Accepted MRENCLAVE; one that is listed needs no signer"),
  signers: z.array(signer).max(256).optional().describe("Accepted signers with product and lowest security version"),
  config_ids: hexList(64).optional().describe("Accepted CONFIGID, where key separation and sharing is used"),
});
export type SgxProfile = z.output<typeof sgxProfile>;
export type SgxProfileInput = z.input<typeof sgxProfile>;
