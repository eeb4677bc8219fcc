/** What a publication promises: a model that is scanned, inventoried, matched, signed, sealed, pushed and registered. */
import type { BlobStore } from "../artifact/index.ts";
import type { KeyWrapper } from "../backends/index.ts";
import type { Progress, Random } from "../base/index.ts";
import type { AdvisoryIndex, JudgedMatch, VexStatement } from "../bom/index.ts";
import type { ApiClient, PublishedModel } from "../contract/index.ts";
import type { ScanReport } from "../scan/index.ts";
import type { ModelSigner, SignatureSet, SignerPolicy } from "../signing/index.ts";

export type PublishStep = "scan" | "bom" | "match" | "sign" | "seal" | "register";

export interface PublishOptions {
  /** A folder, or one file. */
  readonly root: string;
  readonly name: string;
  readonly version: string;
  readonly signer: ModelSigner;
  readonly wrappers: readonly KeyWrapper[];
  readonly store: BlobStore;
  /** Where the sealed model lies in the store; `name/version` when absent. */
  readonly prefix?: string;
  /** Lockfiles outside the model's folder. */
  readonly lockfiles?: readonly string[];
  /** Without it nothing is matched, and the findings statement says so. */
  readonly advisories?: AdvisoryIndex;
  /** What the publisher says of weaknesses: it stands in the signed bill of materials, and what is closed does not count. */
  readonly vex?: readonly VexStatement[];
  /** Paths inside the model that are not part of it, for example its own signature file. */
  readonly ignore?: readonly string[];
  /** Asked before anything is sealed; what it would not accept is not published. */
  readonly signers?: { readonly policy: SignerPolicy; readonly atMs: number };
  /** Signatures of further signers of the same files, and what else was said about them: both are published too. */
  readonly beside?: SignatureSet;
  /** Goes on when the scan is not clean: then the server's policy decides alone. */
  readonly allowFindings?: boolean;
  readonly api: ApiClient;
  readonly random: Random;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
  /** Told after each step, with one line about what came of it. */
  readonly onStep?: (step: PublishStep, about: string) => void;
}

export interface Publication {
  readonly model: PublishedModel;
  readonly scan: ScanReport;
  /** Packages of the bill of materials that can be matched. */
  readonly packages: number;
  readonly matches: readonly JudgedMatch[];
  /** It had been published before, as this very package. */
  readonly already: boolean;
}
