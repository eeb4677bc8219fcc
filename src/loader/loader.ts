/** What the loader promises: a program that reads the model from memory that only it and the host's root can see. */
import type { Progress } from "../base/index.ts";
import type { GuardedBytes } from "../host/index.ts";

export interface RunSealedOptions {
  /** URI of the blob store, for example `file:///srv/models`. */
  readonly storeUri: string;
  /** Where the sealed model lies in it. */
  readonly prefix: string;
  /** Wiped as soon as it was handed on. */
  readonly packageKey: GuardedBytes;
  /** Public keys of the publishers that this machine trusts, PEM; also those behind a certificate or an identity. */
  readonly trust: { readonly publicKeys: readonly string[] };
  /** The hex root digest that was published; a sealed model of another one is refused. */
  readonly rootDigest?: string;
  /** `filesDigestOf` of what the signers signed; other names of files over the same root are refused. */
  readonly filesDigest?: string;
  /** The package that the key was released for; another one is refused. */
  readonly packageId?: string;
  /** Program and its words; `{model}` becomes the folder of the model. */
  readonly command: readonly string[];
  /** Of the program. A name that a shell cannot hold as a variable may be dropped by the system's `sh`. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** When it aborts, the signal named by its reason (`SIGINT`, else SIGTERM) goes to the program and its children. */
  readonly signal?: AbortSignal;
  /** Loads although pages of the model may go to a swap device. */
  readonly insecureAllowSwap?: boolean;
  readonly progress?: Progress;
  /** Called once everything was verified, right before the program starts. */
  readonly onReady?: (ready: RunReady) => void;
}

export interface RunReady {
  readonly files: number;
  readonly bytes: number;
  readonly rootDigest: string;
  /** The signer, hex. */
  readonly keyId: string;
  /** The memory file system refused to be swapped. */
  readonly noSwap: boolean;
  /** Every process of the program ends with it; false where the host gives no process namespace. */
  readonly contained: boolean;
}

export interface RunResult {
  /** Of the program; 128 and the number of the signal when one ended it. */
  readonly exitCode: number;
  readonly ready: RunReady;
}

export interface HostPromise {
  readonly id: "namespace" | "processes" | "swap" | "core-dumps" | "memory-lock" | "tee" | "root";
  readonly holds: boolean;
  /** One sentence for people. */
  readonly about: string;
}
