/** The terminal of this process, for questions whose answer must not be shown. */
import type { ReadStream } from "node:tty";

/** Undefined unless standard input is a terminal; questions go to stderr. */
export function ttyStreams(): { readonly stdin: ReadStream; readonly stderr: NodeJS.WriteStream } | undefined {
  return process.stdin.isTTY ? { stdin: process.stdin, stderr: process.stderr } : undefined;
}
