/** Nonces of key releases: kept in the store, bound to the caller, used at most once on all replicas together. */
import { createHash } from "node:crypto";
import { z } from "zod";
import {
  type Caller,
  type Clock,
  entityText,
  fromUtf8,
  parseJson,
  type Random,
  toBase64Url,
  toHex,
  utf8,
} from "../base/index.ts";
import type { RecordStore, RecordTransaction, StoredRecord } from "../store/index.ts";
import { nonceId } from "./binding.ts";
import { keyNotGranted, releaseError } from "./errors.ts";
import { RELEASE_LIMITS } from "./limits.ts";
import type { Challenge } from "./release.ts";

const TABLE = "release-challenges";
const openChallenge = z.object({ expires_at: z.number() });

export interface ChallengePorts {
  readonly store: RecordStore;
  readonly clock: Clock;
  readonly random: Random;
}

export class Challenges {
  readonly #ports: ChallengePorts;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(ports: ChallengePorts) {
    this.#ports = ports;
  }

  async issue(caller: Caller): Promise<Challenge> {
    await this.#sweepSometimes();
    const nonce = toBase64Url(this.#ports.random.bytes(RELEASE_LIMITS.nonceBytes));
    const owner = ownerOf(caller);
    const expiresAt = await this.#ports.store.transaction(async (tx) => {
      await this.#makeRoom(tx, owner);
      const until = this.#ports.clock.now() + RELEASE_LIMITS.challengeMilliseconds;
      await tx.put(TABLE, `${owner}.${nonceId(nonce)}`, utf8(JSON.stringify({ expires_at: until })), { ifVersion: 0 });
      return until;
    });
    return { nonce, expiresAt };
  }

  /** Uses the nonce up, whatever comes after; of several at once exactly one goes through. */
  async consume(nonce: string, caller: Caller): Promise<void> {
    const id = nonceId(nonce);
    if (id === undefined) throw keyNotGranted("challenge.unknown");
    const record = await this.#ports.store.transaction(async (tx) => {
      const found = await tx.get(TABLE, `${ownerOf(caller)}.${id}`);
      if (found) await tx.delete(TABLE, found.id);
      return found;
    });
    if (!record) throw keyNotGranted("challenge.unknown");
    if (this.#hasEnded(record)) throw keyNotGranted("challenge.expired");
  }

  async #makeRoom(tx: RecordTransaction, owner: string): Promise<void> {
    const most = RELEASE_LIMITS.openChallengesPerPrincipal;
    const { records } = await tx.list(TABLE, { prefix: `${owner}.`, limit: most });
    if (records.length < most) return;
    const ended = records.filter((record) => this.#hasEnded(record));
    if (ended.length === 0) throw releaseError("CHALLENGE_LIMIT", { detail: `${most} of this principal` });
    for (const { id } of ended) await tx.delete(TABLE, id);
  }

  #hasEnded(record: StoredRecord): boolean {
    const parsed = openChallenge.safeParse(parseJson(fromUtf8(record.value), { maxBytes: 1024, what: "challenge" }));
    return !parsed.success || this.#ports.clock.now() >= parsed.data.expires_at;
  }

  /** Removes what ended unused, now and then: a principal that never comes back leaves nothing. */
  async #sweepSometimes(): Promise<void> {
    const { clock, store } = this.#ports;
    if (clock.monotonic() - this.#sweptAt < RELEASE_LIMITS.sweepMilliseconds) return;
    this.#sweptAt = clock.monotonic();
    let after: string | undefined;
    for (let seen = 0; seen < RELEASE_LIMITS.sweptChallenges; seen += RELEASE_LIMITS.pageRecords) {
      const page = await store.list(TABLE, {
        limit: RELEASE_LIMITS.pageRecords,
        ...(after === undefined ? {} : { after }),
      });
      for (const record of page.records) if (this.#hasEnded(record)) await store.delete(TABLE, record.id);
      after = page.next;
      if (after === undefined) return;
    }
  }
}

/** Principal and key of the token together: a challenge of one is none of the other. */
function ownerOf(caller: Caller): string {
  const text = JSON.stringify([entityText(caller.principal), caller.keyThumbprint]);
  return toHex(createHash("sha256").update(text).digest()).slice(0, 32);
}
