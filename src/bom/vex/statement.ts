/** What somebody says about a weakness in a product: VEX, whichever format it came in. */

export const VEX_STATUSES = ["not_affected", "affected", "fixed", "under_investigation"] as const;
export type VexStatus = (typeof VEX_STATUSES)[number];

/** OpenVEX 0.2.0, "Status Justifications". */
export const VEX_JUSTIFICATIONS = [
  "component_not_present",
  "vulnerable_code_not_present",
  "vulnerable_code_not_in_execute_path",
  "vulnerable_code_cannot_be_controlled_by_adversary",
  "inline_mitigations_already_exist",
] as const;
export type VexJustification = (typeof VEX_JUSTIFICATIONS)[number];

export interface VexStatement {
  /** The weakness and its aliases: CVE, GHSA, PYSEC. */
  readonly ids: readonly string[];
  /** Package URLs; one without a version is every version. */
  readonly products: readonly string[];
  readonly status: VexStatus;
  readonly justification?: VexJustification;
  /** In the words of the author. */
  readonly impact?: string;
  readonly action?: string;
  readonly author?: string;
  /** Milliseconds since the epoch; 0 when nobody said. */
  readonly timeMs: number;
}

export interface VexDocument {
  readonly format: "OpenVEX" | "CycloneDX" | "CSAF";
  readonly statements: readonly VexStatement[];
  /** Statements that say nothing that can be used, and why. */
  readonly ignored: readonly string[];
}
