/** One token of a PKCS#11 module: found by what the URI says, logged in to once, used over a few sessions. */
import { fromUtf8, wipe } from "../../base/index.ts";
import type { GuardedBytes } from "../../host/index.ts";
import { backendError } from "../errors.ts";
import { BACKEND_LIMITS } from "../limits.ts";
import { CKR_OK, LOST_SESSION, pkcs11Error } from "./errors.ts";
import { type Pkcs11FunctionName, Pkcs11Module } from "./module.ts";
import type { Pkcs11Uri } from "./uri.ts";

const CKF_RW_AND_SERIAL_SESSION = 6;
const CKU_USER = 1;
const CKR_USER_ALREADY_LOGGED_IN = 0x100;
const TOKEN_INFO_BYTES = 512;
const ULONG_BYTES = 8;
const UNAVAILABLE = 0xffff_ffff_ffff_ffffn;

export type Pin = () => Promise<GuardedBytes>;

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** A session in use, for the time of one piece of work. */
export class Session {
  readonly #module: Pkcs11Module;
  readonly #uri: string;
  readonly handle: unknown;

  constructor(module: Pkcs11Module, handle: unknown, uri: string) {
    this.#module = module;
    this.handle = handle;
    this.#uri = uri;
  }

  /** Throws the error of any return value but CKR_OK; `expected` may stand in for it. */
  async call(name: Pkcs11FunctionName, args: readonly unknown[], expected?: (value: number) => Error | undefined) {
    const value = await this.#module.call(name, this.handle, ...args);
    if (value === CKR_OK) return;
    if (LOST_SESSION.has(value)) throw new LostSession(value, name, this.#uri);
    throw expected?.(value) ?? pkcs11Error(value, name, this.#uri);
  }

  /** Handles of at most three objects: one is wanted, and two are too many. */
  async find(template: readonly Attribute[]): Promise<unknown[]> {
    const list = template.map(({ type, value }) => ({ type, value, length: value.length }));
    await this.call("C_FindObjectsInit", [list, list.length]);
    try {
      const handles = Buffer.alloc(3 * ULONG_BYTES);
      const count: [unknown] = [0];
      await this.call("C_FindObjects", [handles, 3, count]);
      return Array.from({ length: Number(count[0]) }, (_, index) => handles.readBigUInt64LE(index * ULONG_BYTES));
    } finally {
      await this.#module.call("C_FindObjectsFinal", this.handle);
    }
  }

  /** Undefined when the object does not have the attribute or does not show it. */
  async attribute(object: unknown, type: number): Promise<Uint8Array | undefined> {
    const value = Buffer.alloc(BACKEND_LIMITS.pkcs11AttributeBytes);
    const attribute: { type: number; value: unknown; length: number | bigint } = { type, value, length: value.length };
    const result = await this.#module.call("C_GetAttributeValue", this.handle, object, attribute, 1);
    const length = BigInt(attribute.length);
    if (result !== CKR_OK || length === UNAVAILABLE || length > BigInt(value.length)) return undefined;
    return Uint8Array.from(value.subarray(0, Number(length)));
  }
}

class LostSession extends Error {
  readonly reason: Error;

  constructor(value: number, during: string, uri: string) {
    super("the session is lost");
    this.reason = pkcs11Error(value, during, uri);
  }
}

export class Pkcs11Token {
  readonly #module: Pkcs11Module;
  readonly #uri: Pkcs11Uri;
  readonly #pin: Pin;
  readonly #idle: Session[] = [];
  readonly #waiting: (() => void)[] = [];
  #open = 0;
  #slot: number | undefined;
  #login: Promise<void> | undefined;
  #pinRefused: Error | undefined;

  private constructor(module: Pkcs11Module, uri: Pkcs11Uri, pin: Pin) {
    this.#module = module;
    this.#uri = uri;
    this.#pin = pin;
  }

  static async open(modulePath: string, uri: Pkcs11Uri, pin: Pin): Promise<Pkcs11Token> {
    const token = new Pkcs11Token(await Pkcs11Module.load(modulePath), uri, pin);
    token.#slot = await token.#findSlot();
    return token;
  }

  /** At most a few at once; the others wait. Work whose session got lost is done once more. */
  async use<T>(work: (session: Session) => Promise<T>): Promise<T> {
    try {
      return await this.#once(work);
    } catch (error) {
      if (!(error instanceof LostSession)) throw error;
    }
    await this.#forgetSessions();
    this.#slot = await this.#findSlot();
    return this.#once(work).catch((error) => {
      throw error instanceof LostSession ? error.reason : error;
    });
  }

  /** When one session was lost, those that are idle were, too. */
  async #forgetSessions(): Promise<void> {
    this.#login = undefined;
    this.#open -= this.#idle.length;
    for (const { handle } of this.#idle.splice(0)) await this.#module.call("C_CloseSession", handle);
  }

  async #once<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = await this.#take();
    let lost = true;
    try {
      this.#login ??= this.#logIn(session).catch((error) => {
        this.#login = undefined;
        throw error;
      });
      await this.#login;
      const result = await work(session);
      lost = false;
      return result;
    } catch (error) {
      lost = error instanceof LostSession;
      throw error;
    } finally {
      await this.#give(session, lost);
    }
  }

  async #take(): Promise<Session> {
    while (this.#idle.length === 0 && this.#open >= BACKEND_LIMITS.pkcs11Sessions)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const idle = this.#idle.pop();
    if (idle) return idle;
    this.#open++;
    const handle: [unknown] = [0];
    const value = await this.#module.call("C_OpenSession", this.#slot, CKF_RW_AND_SERIAL_SESSION, null, null, handle);
    if (value === CKR_OK) return new Session(this.#module, handle[0], this.#uri.uri);
    this.#open--;
    this.#waiting.shift()?.();
    throw pkcs11Error(value, "C_OpenSession", this.#uri.uri);
  }

  /** A lost session is closed before another is opened, which may get its number. */
  async #give(session: Session, lost: boolean): Promise<void> {
    if (lost) await this.#module.call("C_CloseSession", session.handle);
    if (lost) this.#open--;
    else this.#idle.push(session);
    this.#waiting.shift()?.();
  }

  /** A refused PIN is not tried a second time: a few wrong ones lock a token for good. */
  async #logIn(session: Session): Promise<void> {
    if (this.#pinRefused) throw this.#pinRefused;
    using pin = await this.#pin();
    const bytes = pin.use((secret) => Buffer.from(secret));
    const value = await this.#module
      .call("C_Login", session.handle, CKU_USER, bytes, bytes.length)
      .finally(() => wipe(bytes));
    if (value === CKR_OK || value === CKR_USER_ALREADY_LOGGED_IN) return;
    this.#pinRefused = pkcs11Error(value, "C_Login", this.#uri.uri);
    throw this.#pinRefused;
  }

  async #findSlot(): Promise<number> {
    const matching: number[] = [];
    for (const slot of await this.#slots()) {
      const info = Buffer.alloc(TOKEN_INFO_BYTES);
      const value = await this.#module.call("C_GetTokenInfo", slot, info);
      if (value === CKR_OK && this.#matches(slot, info)) matching.push(slot);
    }
    if (matching.length === 1 && matching[0] !== undefined) return matching[0];
    throw backendError("PKCS11_TOKEN_MISSING", {
      detail: `${this.#uri.uri}: ${matching.length === 0 ? "none" : `${matching.length} tokens`} of ${this.#module.path}`,
    });
  }

  /** The call without a list makes a module look for tokens that were put in since (v2.40, section 5.5). */
  async #slots(): Promise<number[]> {
    const list = Buffer.alloc(BACKEND_LIMITS.pkcs11Slots * ULONG_BYTES);
    await this.#module.call("C_GetSlotList", 1, null, [0]);
    const count: [unknown] = [BACKEND_LIMITS.pkcs11Slots];
    const value = await this.#module.call("C_GetSlotList", 1, list, count);
    if (value !== CKR_OK) throw pkcs11Error(value, "C_GetSlotList", this.#uri.uri);
    return Array.from({ length: Number(count[0]) }, (_, index) => Number(list.readBigUInt64LE(index * ULONG_BYTES)));
  }

  /** CK_TOKEN_INFO begins with label, manufacturer, model and serial, filled up with spaces. */
  #matches(slot: number, info: Buffer): boolean {
    const { token, manufacturer, model, serial, slotId } = this.#uri;
    const wanted = [
      [token, info.subarray(0, 32)],
      [manufacturer, info.subarray(32, 64)],
      [model, info.subarray(64, 80)],
      [serial, info.subarray(80, 96)],
    ] as const;
    const same = wanted.every(([text, field]) => text === undefined || text === paddedText(field));
    return same && (slotId === undefined || slotId === slot);
  }
}

function paddedText(field: Uint8Array): string | undefined {
  try {
    return fromUtf8(field).replace(/[ \0]+$/, "");
  } catch {
    return undefined;
  }
}
