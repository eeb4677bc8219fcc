/** What is asked of the virtual TPM of an Azure machine, beside what is asked of its hardware. */
import { z } from "zod";
import { AZURE_LIMITS } from "./limits.ts";

const register = z.string().regex(/^(?:[0-9]|1[0-9]|2[0-3])$/, "a register from 0 to 23");
const value = z.string().regex(/^[0-9a-f]{64}$/, "32 bytes in lower-case hex");

export const azureProfile = z
  .strictObject({
    pcrs: z
      .record(register, z.array(value).min(1).max(AZURE_LIMITS.pcrValues).readonly())
      .default({})
      .describe("values of the SHA-256 registers; the hardware's measurement is of the paravisor alone"),
    allow_any_pcrs: z.boolean().default(false).describe("accept any operating system when no register is named"),
    require_secure_boot: z.boolean().default(true).describe("refuse a machine without secure boot"),
  })
  .describe("appraisal of the virtual TPM of Azure's confidential machines");

export type AzureProfile = z.output<typeof azureProfile>;
