/** The rules of the terminal: stdout is data, stderr is talk, progress only where a person looks. */
import type { Clock, Progress } from "../base/index.ts";
import { baseError } from "../base/index.ts";

export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

/** Progress appears after this long, in milliseconds, and is redrawn at most this often. */
const PROGRESS_AFTER_MS = 500;
const PROGRESS_EVERY_MS = 100;

/** One line that is redrawn on a terminal; nothing elsewhere. `done()` ends it. */
export function createProgress(stream: Stream, clock: Clock): { progress: Progress; done(): void } {
  let started = clock.monotonic();
  let drawnAt = Number.NEGATIVE_INFINITY;
  let step = "";
  let visible = false;
  const clear = () => {
    if (visible) stream.write("\r\x1b[2K");
    visible = false;
  };
  return {
    progress(update) {
      if (!stream.isTTY) return;
      const now = clock.monotonic();
      if (update.step !== step) {
        step = update.step;
        started = now;
      }
      if (now - started < PROGRESS_AFTER_MS || now - drawnAt < PROGRESS_EVERY_MS) return;
      drawnAt = now;
      visible = true;
      stream.write(`\r\x1b[2K${progressLine(update, (now - started) / 1000)}`);
    },
    done: clear,
  };
}

function progressLine(update: Parameters<Progress>[0], seconds: number): string {
  const rate = update.done / Math.max(seconds, 0.001);
  const amount = update.unit === "bytes" ? formatBytes(update.done) : `${update.done} ${update.unit}`;
  const perSecond = update.unit === "bytes" ? `${formatBytes(rate)}/s` : `${Math.round(rate)}/s`;
  if (update.total <= 0) return `${update.step}: ${amount}, ${perSecond}`;
  const percent = Math.min(100, Math.floor((100 * update.done) / update.total));
  const left = rate > 0 ? Math.ceil((update.total - update.done) / rate) : 0;
  return `${update.step}: ${percent} %, ${amount}, ${perSecond}, ${left} s left`;
}

export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** Control characters that a file name or a server's answer could bring to the terminal become visible. */
export function printable(text: string): string {
  return text.replace(
    /(?![\t\n])[\p{Cc}\p{Bidi_Control}]/gu,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** The same for what must stay one line: a name cannot write a line of its own. */
export function printableLine(text: string): string {
  return printable(text.replaceAll("\n", "\\n"));
}

/** The whole of standard input, bounded. */
export async function readStream(stream: AsyncIterable<Uint8Array | string>, maxBytes: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array);
    total += bytes.length;
    if (total > maxBytes) throw baseError("LIMIT_EXCEEDED", { detail: `standard input is over ${maxBytes} bytes` });
    chunks.push(bytes);
  }
  const whole = new Uint8Array(total);
  let offset = 0;
  for (const chunk of chunks) {
    whole.set(chunk, offset);
    offset += chunk.length;
    chunk.fill(0);
  }
  return whole;
}
