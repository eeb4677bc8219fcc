/** Signed reference values of the configuration: read again as they change, never older than before, gone when they end. */
import { resolve } from "node:path";
import {
  APPRAISAL_LIMITS,
  type AppraisalProfile,
  attestationError,
  isGoodAt,
  openReferenceValues,
  type ReferenceValues,
  withReferenceValues,
} from "../attestation/index.ts";
import { type Clock, fromUtf8, type Log, parseJson, utf8 } from "../base/index.ts";
import { readFileBounded } from "../host/index.ts";
import { loadTrustedKey, SIGNING_LIMITS, type TrustedKey } from "../signing/index.ts";
import type { RecordStore } from "../store/index.ts";
import { SERVER_LIMITS } from "./limits.ts";

export interface ReferencePorts {
  readonly paths: readonly string[];
  /** PEM files. */
  readonly keyPaths: readonly string[];
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** The profile with the statements as they are now; the same object as long as nothing changed. */
export type ReferenceReader = () => Promise<AppraisalProfile>;

/**
 * Throws REFERENCE_INVALID or REFERENCE_ROLLBACK when they cannot be used at first; later the last ones stay, and their
 * dates still count. Of what has ended only the lists stay, which then accept nothing more.
 */
export async function openReferences(ports: ReferencePorts, own: AppraisalProfile): Promise<ReferenceReader> {
  const { clock, log } = ports;
  const keys = await Promise.all(ports.keyPaths.map(readKey));
  let all = await load(ports, keys);
  let readAt = clock.monotonic();
  let last: { readonly state: string; readonly profile: AppraisalProfile } | undefined;
  const renew = async () => {
    readAt = clock.monotonic();
    try {
      all = await load(ports, keys);
    } catch (error) {
      log.warn("the reference values cannot be used: the last ones stay", { error });
    }
  };
  return async () => {
    if (clock.monotonic() - readAt >= SERVER_LIMITS.referenceLookMs) await renew();
    const now = clock.now();
    const ended = all.filter((values) => !isGoodAt(values, now)).map(({ name }) => name);
    const state = JSON.stringify([all, ended]);
    if (last?.state === state) return last.profile;
    if (ended.length > 0) log.warn("reference values have ended, or are not good yet", { names: ended });
    last = { state, profile: all.reduce((profile, values) => withReferenceValues(profile, values, now), own) };
    return last.profile;
  };
}

async function readKey(path: string): Promise<TrustedKey> {
  return loadTrustedKey(fromUtf8(await readFileBounded(resolve(path), SIGNING_LIMITS.keyFileBytes)));
}

async function load(
  { paths, store, clock }: ReferencePorts,
  keys: readonly TrustedKey[],
): Promise<readonly ReferenceValues[]> {
  const files = await Promise.all(paths.map((path) => readFileBounded(resolve(path), APPRAISAL_LIMITS.profileBytes)));
  const all = files.map((file) => openReferenceValues(file, keys));
  const names = all.map(({ name }) => name);
  if (new Set(names).size !== names.length)
    throw attestationError("REFERENCE_INVALID", { detail: "two statements have one name" });
  await refuseOlder(store, all, clock.now());
  return all;
}

const TABLE = "reference-values";

/** All or none: the newest date of each name is kept where no file can take it back. */
async function refuseOlder(store: RecordStore, all: readonly ReferenceValues[], now: number): Promise<void> {
  await store.transaction(async (tx) => {
    for (const { name, issued_at: issuedAt } of all) {
      const known = await tx.get(TABLE, name);
      const last = known ? Date.parse(String(parseJson(known.value))) : Number.NEGATIVE_INFINITY;
      const have = Date.parse(issuedAt);
      if (!(have >= last)) throw attestationError("REFERENCE_ROLLBACK", { detail: `${name} of ${issuedAt}` });
      // A date that has not come may be a clock that was wrong: it must not shut out what is right.
      if (have > last && have <= now + APPRAISAL_LIMITS.referenceSkewMs)
        await tx.put(TABLE, name, utf8(JSON.stringify(issuedAt)));
    }
  });
}
