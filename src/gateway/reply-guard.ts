/** Looks at what a provider sends before the parser of HTTP sees it: a key that comes back is masked there. */
// In the parser and in strings it would leave copies. Masked at the same length it never gets so far. A head is held until it is
// whole, since of its pieces strings are made; a key in pieces of a body is the ReplyScrubber's.
import type { GuardedBytes, net } from "../host/index.ts";
import { formsOfKey } from "../secrets/index.ts";

export interface ReplyGuardOptions {
  /** Of a head, in bytes; a longer one goes on as it is. */
  readonly headBytes: number;
  readonly onEcho: () => void;
}

export interface ReplyGuard {
  /** A request with this key leaves now: what comes next is the head of its reply. */
  expect(key: GuardedBytes): void;
}

// At `push`, not at `read`: what gathered in the stream is joined into a copy there, and its pieces stay behind.
export function guardReplies(socket: net.Socket, { headBytes, onEcho }: ReplyGuardOptions): ReplyGuard {
  const push = socket.push.bind(socket);
  let key: GuardedBytes | undefined;
  let inHead = false;
  let held: Buffer | undefined;

  const mask = (bytes: Buffer): void => {
    if (key && !key.wiped && formsOfKey(key).mask(bytes) > 0) onEcho();
  };
  const take = (): Buffer | undefined => {
    const bytes = held;
    held = undefined;
    return bytes;
  };
  const pushBytes = (chunk: Buffer): boolean => {
    const bytes = inHead ? joined(take(), chunk) : chunk;
    if (inHead && bytes.length <= headBytes && !holdsHead(bytes)) {
      held = bytes;
      return true;
    }
    inHead = false;
    mask(bytes);
    return push(bytes);
  };
  socket.push = (chunk: unknown, encoding?: BufferEncoding) => {
    if (chunk instanceof Uint8Array) return pushBytes(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
    const rest = take();
    if (rest) mask(rest);
    if (rest) push(rest);
    return push(chunk, encoding);
  };
  wipeWhatWasRead(socket);
  socket.once("close", () => take()?.fill(0));
  return {
    expect(next) {
      key = next;
      inHead = true;
    },
  };
}

/** undici puts the part that it cannot parse into an error, as a string. */
function quietPart(this: Buffer, start?: number, end?: number): Buffer {
  const part = Buffer.prototype.subarray.call(this, start, end);
  part.toString = () => "";
  return part;
}

/**
 * The parser has done with what it read when it reads again: nobody may keep a part of it. What a paused parser gives back
 * is a copy.
 */
function wipeWhatWasRead(socket: net.Socket): void {
  const [read, unshift] = [socket.read.bind(socket), socket.unshift.bind(socket)];
  let last: unknown;
  const wipe = (): void => {
    if (last instanceof Uint8Array) last.fill(0);
    last = undefined;
  };
  socket.read = (size?: number): unknown => {
    wipe();
    last = read(size);
    if (last instanceof Buffer) last.subarray = quietPart;
    return last;
  };
  socket.unshift = (chunk: unknown, encoding?: BufferEncoding) =>
    unshift(chunk instanceof Uint8Array ? Buffer.from(chunk) : chunk, encoding);
  socket.once("close", wipe);
}

/** The pieces are wiped. */
function joined(before: Buffer | undefined, chunk: Buffer): Buffer {
  if (!before) return chunk;
  const whole = Buffer.concat([before, chunk]);
  before.fill(0);
  chunk.fill(0);
  return whole;
}

/** The head of the reply itself: those before it say that it comes later (RFC 9110, 15.2). */
function holdsHead(bytes: Buffer): boolean {
  let from = 0;
  for (;;) {
    const end = endOfHead(bytes, from);
    if (end === -1) return false;
    if (!/^HTTP\/1\.[01] 1/.test(bytes.toString("latin1", from, from + 10))) return true;
    from = end;
  }
}

/** The bytes after the empty line; -1 when it has not come. */
function endOfHead(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf("\n", from); at !== -1; at = bytes.indexOf("\n", at + 1)) {
    if (bytes[at + 1] === 0x0a) return at + 2;
    if (bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return at + 3;
  }
  return -1;
}
