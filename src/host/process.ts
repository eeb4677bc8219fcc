/** The process and its children, networks and threads: re-exports of Node's modules under one door. */
import * as childProcess from "node:child_process";
import * as dns from "node:dns";
import * as http from "node:http";
import * as https from "node:https";
import * as net from "node:net";
import * as os from "node:os";

export { childProcess, dns, http, https, net, os };

export const spawnProcess = childProcess.spawn;

/** Sends a signal to a process that leads a group, and to the whole group; false when there is none any more. */
export function signalGroup(leader: number, signal: NodeJS.Signals): boolean {
  if (leader <= 1) return false;
  try {
    return process.kill(-leader, signal);
  } catch {
    return false;
  }
}

export interface ProcessInfo {
  readonly pid: number;
  /** -1 where the platform has no user ids. */
  readonly uid: number;
  readonly platform: string;
  readonly arch: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly execPath: string;
  readonly nodeVersion: string;
}

export function processInfo(): ProcessInfo {
  return {
    pid: process.pid,
    uid: process.getuid?.() ?? -1,
    platform: process.platform,
    arch: process.arch,
    cwd: process.cwd(),
    env: process.env,
    execPath: process.execPath,
    nodeVersion: process.versions.node,
  };
}

export const homeDirectory = os.homedir;
export const tempDirectory = os.tmpdir;
