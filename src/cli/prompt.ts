/** Asks for a value on the terminal without showing it. */
import { ttyStreams } from "../host/index.ts";
import { cliError } from "./errors.ts";

const ENTER = new Set([0x0a, 0x0d, 0x04]);
const BACKSPACE = new Set([0x08, 0x7f]);
const INTERRUPT = 0x03;

/** Undefined when standard input is no terminal. The bytes never become a string; the caller wipes them. */
export async function promptHidden(question: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const terminal = ttyStreams();
  if (!terminal) return undefined;
  // Before the question: who answers at once would be shown by the terminal itself.
  terminal.stdin.setRawMode(true);
  terminal.stderr.write(question);
  const typed = new Uint8Array(new ArrayBuffer(maxBytes));
  try {
    const length = await readLine(terminal.stdin, typed);
    return new Uint8Array(typed.slice(0, length));
  } finally {
    typed.fill(0);
    terminal.stdin.setRawMode(false);
    terminal.stdin.pause();
    terminal.stderr.write("\n");
  }
}

type Keyboard = NonNullable<ReturnType<typeof ttyStreams>>["stdin"];

function readLine(stdin: Keyboard, typed: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    let length = 0;
    const onData = (chunk: Buffer): void => {
      const end = chunk.findIndex((byte) => byte === INTERRUPT || ENTER.has(byte));
      for (const byte of end === -1 ? chunk : chunk.subarray(0, end)) {
        if (BACKSPACE.has(byte)) length = Math.max(0, length - 1);
        else if (length < typed.length) typed[length++] = byte;
      }
      const last = chunk[end];
      chunk.fill(0);
      if (last === INTERRUPT) stop(() => reject(cliError("INTERRUPTED")));
      else if (last !== undefined) stop(() => resolve(length));
    };
    const stop = (then: () => void): void => {
      stdin.off("data", onData);
      then();
    };
    stdin.on("data", onData);
    stdin.resume();
  });
}
