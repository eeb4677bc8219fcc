/** A secret that is lent to this process: in guarded memory, renewed while it is in use, given back when its block ends. */
import { type Clock, type Log, ModelkeepError, silentLog, wipe } from "../base/index.ts";
import { type ApiClient, checkInLease, checkoutSecret, renewLease } from "../contract/index.ts";
import { GuardedBytes, systemClock } from "../host/index.ts";
import { createReceiver } from "../secrets/index.ts";
import { sdkError } from "./errors.ts";
import { CHECK_OUT_LIMITS } from "./limits.ts";

export interface CheckOutOptions {
  /** From each renewal on, 1 to 3600; the server's default when absent. */
  readonly ttlSeconds?: number;
  /** For the audit log and for policy, at most 200 characters. */
  readonly purpose?: string;
  /** Renewed until it is checked in; true when absent. */
  readonly renew?: boolean;
}

/** `await using key = await keep.checkOut("openai/prod")` gives it back at the end of the block, whatever the end. */
export interface CheckedOut extends AsyncDisposable {
  readonly leaseId: string;
  /** Milliseconds since the epoch; later after each renewal. */
  readonly expiresAt: number;
  /** True after check-in, after its time, and once the server has said that it was revoked. The value is wiped then. */
  readonly ended: boolean;
  /** Opens the value for a synchronous call; the bytes must not be kept. Fails with CHECK_OUT_ENDED. */
  use<T>(work: (bytes: Uint8Array) => T): T;
  /** A string stays in memory until it is overwritten by chance: for libraries that take nothing else. */
  insecureText(): string;
  /** Told once when it ended other than by check-in. */
  onEnd(listener: () => void): void;
  /** Wipes the value and ends the lease; may be called twice. What the server cannot be told ends by its time. */
  checkIn(): Promise<void>;
}

export interface CheckOutPorts {
  readonly api: ApiClient;
  readonly clock?: Clock;
  readonly log?: Log;
}

/** Fails with what the server refuses it with: SECRET_NOT_FOUND, FORBIDDEN, LEASE_LIMIT and so on. */
export async function checkOut(
  { api, clock = systemClock, log = silentLog }: CheckOutPorts,
  name: string,
  options: CheckOutOptions = {},
): Promise<CheckedOut> {
  const receiver = createReceiver();
  const { ttlSeconds, purpose } = options;
  const { lease, sealed } = await api.call(checkoutSecret, {
    params: { name },
    body: {
      key_id: receiver.key.keyId,
      public_key: receiver.key.publicKey,
      ...(ttlSeconds === undefined ? {} : { ttl_seconds: ttlSeconds }),
      ...(purpose === undefined ? {} : { purpose }),
    },
  });
  const wire = { keyId: sealed.key_id, enc: sealed.enc, ciphertext: sealed.ciphertext };
  const value = await receiver.open(wire, { direction: "checkout", name });
  try {
    return new HeldSecret({ api, clock, log }, lease, GuardedBytes.take(value), options.renew ?? true);
  } finally {
    wipe(value);
  }
}

interface WireLease {
  readonly id: string;
  readonly issued_at: string;
  readonly expires_at: string;
}

class HeldSecret implements CheckedOut {
  readonly leaseId: string;
  readonly #ports: Required<CheckOutPorts>;
  readonly #key: GuardedBytes;
  readonly #ttlSeconds: number;
  readonly #renews: boolean;
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | undefined;
  #expiresAt = 0;
  /** On the clock that only grows. */
  #endsAt = 0;

  constructor(ports: Required<CheckOutPorts>, lease: WireLease, key: GuardedBytes, renews: boolean) {
    this.#ports = ports;
    this.#key = key;
    this.#renews = renews;
    this.leaseId = lease.id;
    this.#ttlSeconds = Math.max(1, Math.round((Date.parse(lease.expires_at) - Date.parse(lease.issued_at)) / 1000));
    this.#lastFor(this.#ttlSeconds * 1000, lease.expires_at);
  }

  get expiresAt(): number {
    return this.#expiresAt;
  }

  get ended(): boolean {
    return this.#key.wiped;
  }

  use<T>(work: (bytes: Uint8Array) => T): T {
    if (this.#key.wiped || this.#ports.clock.monotonic() >= this.#endsAt) {
      this.#end();
      throw sdkError("CHECK_OUT_ENDED", { detail: this.leaseId });
    }
    return this.#key.use(work);
  }

  insecureText(): string {
    return this.use((bytes) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8"));
  }

  onEnd(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** Counted from now on this machine: its date and the server's may differ. */
  #lastFor(milliseconds: number, expiresAt: string): void {
    this.#expiresAt = Date.parse(expiresAt);
    this.#endsAt = this.#ports.clock.monotonic() + milliseconds;
    this.#wait(this.#renews ? milliseconds * CHECK_OUT_LIMITS.renewPart : milliseconds);
  }

  #wait(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#onTime(), milliseconds).unref();
  }

  async #onTime(): Promise<void> {
    const left = this.#endsAt - this.#ports.clock.monotonic();
    if (left <= 0) this.#end();
    else if (!this.#renews) this.#wait(left);
    else await this.#renew().catch((error: unknown) => this.#afterRefusal(error));
  }

  async #renew(): Promise<void> {
    const body = { ttl_seconds: this.#ttlSeconds };
    const renewed = await this.#ports.api.call(renewLease, { params: { id: this.leaseId }, body });
    if (!this.#key.wiped) this.#lastFor(this.#ttlSeconds * 1000, renewed.expires_at);
  }

  /** The server said no: the lease is gone, or has lived as long as it may. Everything else is tried again. */
  #afterRefusal(error: unknown): void {
    const code = error instanceof ModelkeepError ? error.code : "INTERNAL";
    if (code === "LEASE_NOT_FOUND") this.#end();
    if (this.#key.wiped) return;
    this.#ports.log.warn("a lease was not renewed", { lease: this.leaseId, code });
    const left = this.#endsAt - this.#ports.clock.monotonic();
    this.#wait(Math.max(0, code === "LEASE_LIFE_OVER" ? left : Math.min(left, CHECK_OUT_LIMITS.retryMs)));
  }

  #end(): void {
    clearTimeout(this.#timer);
    if (this.#key.wiped) return;
    this.#key.wipe();
    for (const listener of this.#listeners) listener();
  }

  async checkIn(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#key.wiped) return;
    this.#key.wipe();
    try {
      await this.#ports.api.call(checkInLease, { params: { id: this.leaseId } });
    } catch (error) {
      const code = error instanceof ModelkeepError ? error.code : "INTERNAL";
      if (code !== "LEASE_NOT_FOUND")
        this.#ports.log.warn("a lease ends by its time only", { lease: this.leaseId, code });
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.checkIn();
  }
}
