/** What is asked of an SEV-SNP guest; every field that is left out has the strict value. */
import { z } from "zod";
import { SNP_LIMITS } from "./limits.ts";
import { SNP_PRODUCTS } from "./products.ts";

const list = <T extends z.ZodType>(item: T) => z.array(item).max(SNP_LIMITS.profileEntries).readonly();
/** Lower-case hex of so many bytes. */
const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${bytes * 2}}$`), `${bytes} bytes in lower-case hex`);
const svn = z.int().min(0).max(255);
const byte = svn;

const minimumTcb = z
  .strictObject({
    fmc: svn.optional().describe("Turin only"),
    bootloader: svn.default(0),
    tee: svn.default(0),
    snp: svn.default(0),
    microcode: svn.default(0),
  })
  .describe("the lowest security version number of each part of the firmware");

export const PLATFORM_BITS = {
  smt_enabled: 0n,
  tsme_enabled: 1n,
  ecc_enabled: 2n,
  rapl_disabled: 3n,
  ciphertext_hiding: 4n,
  alias_check_complete: 5n,
  tio_enabled: 7n,
} as const;
const platformBit = z.enum(Object.keys(PLATFORM_BITS) as (keyof typeof PLATFORM_BITS)[]);

const chipId = z
  .string()
  .regex(/^(?:[0-9a-f]{16}|[0-9a-f]{128})$/, "8 or 64 bytes in lower-case hex")
  .transform((text) => text.padEnd(128, "0"));

export const snpProfile = z
  .strictObject({
    products: list(z.enum(SNP_PRODUCTS))
      .default(["Genoa", "Turin"])
      .describe("processors that are accepted; Milan only where it is named"),
    minimum_tcb: z
      .strictObject({ Milan: minimumTcb.optional(), Genoa: minimumTcb.optional(), Turin: minimumTcb.optional() })
      .default({})
      .describe("lowest firmware for each product; a product without one is refused"),
    allow_any_tcb: z.boolean().default(false).describe("accept a product for which no lowest firmware is named"),
    allow_debug: z.boolean().default(false).describe("accept a guest whose memory the host may read"),
    allow_smt: z.boolean().default(true).describe("accept a guest that may run beside another thread of a core"),
    require_single_socket: z.boolean().default(false).describe("refuse a guest that may span sockets"),
    minimum_abi: z
      .strictObject({ major: byte.default(0), minor: byte.default(0) })
      .default({ major: 0, minor: 0 })
      .describe("lowest firmware interface that the guest's policy may ask for"),
    migration_agents: list(hex(32))
      .default([])
      .describe("report ids of migration agents; empty: a guest that can migrate is refused"),
    allow_provisional_firmware: z.boolean().default(false).describe("accept firmware that can still be rolled back"),
    vmpl: list(z.int().min(0).max(3)).default([0]).describe("privilege levels that may ask for the report"),
    minimum_guest_svn: z.int().min(0).max(0xffff_ffff).default(0).describe("lowest version number of the guest"),
    measurements: list(hex(48)).optional().describe("launch digests; absent: whoever asks decides on the claim"),
    host_data: list(hex(32)).optional().describe("host data, for example the SHA-256 of init data"),
    id_key_digests: list(hex(48)).optional().describe("who signed the guest's identity block"),
    author_key_digests: list(hex(48)).optional().describe("who signed the key of the identity block"),
    family_ids: list(hex(16)).optional().describe("families of the identity block"),
    image_ids: list(hex(16)).optional().describe("images of the identity block"),
    chip_ids: list(chipId).optional().describe("the only processors that are accepted"),
    refused_chip_ids: list(chipId).default([]).describe("processors that are refused"),
    allow_masked_chip_id: z.boolean().default(false).describe("accept a platform that does not say which chip it is"),
    vlek_csp_ids: list(z.string().min(1).max(256))
      .default([])
      .describe("cloud providers whose key (VLEK) may sign in place of the chip's; empty: none"),
    required_platform: list(platformBit)
      .default(["alias_check_complete"])
      .describe("what the platform must have: alias_check_complete stops BadRAM"),
    refused_platform: list(platformBit).default([]).describe("what the platform must not have"),
    required_mitigations: z
      .string()
      .regex(/^0x[0-9a-f]{1,16}$/, "hex with 0x, at most 64 bits")
      .optional()
      .describe("bits of the mitigation vector that must be set at launch and now; needs report version 5"),
    require_crl: z.boolean().default(true).describe("refuse when there is no current revocation list of the root"),
  })
  .describe("appraisal of AMD SEV-SNP guests");

export type SnpProfile = z.output<typeof snpProfile>;
