/** One measured event, whichever log it came from. */
export interface MeasuredEvent {
  /** The runtime register that the event was extended into; "mrtd" for what the launch itself measured. */
  readonly register: 0 | 1 | 2 | 3 | "mrtd";
  /** TCG event type, or a kind of its own above 0x08000000. */
  readonly type: number;
  /** SHA-384, 48 bytes. */
  readonly digest: Uint8Array;
  /** Only of events that have one. */
  readonly name?: string;
  /** What the digest is said to be of; only for a named event was that checked. */
  readonly data: Uint8Array;
}

/** Carries information only and is never extended (TCG PC Client Platform Firmware Profile, table 27). */
export const EV_NO_ACTION = 3;
