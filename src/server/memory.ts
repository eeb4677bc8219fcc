/** Says how well this server can keep keys: in the metrics, and loudly in the log when nothing can be locked. */
import type { Log } from "../base/index.ts";
import { guardedMemoryLevel, hardenProcess } from "../host/index.ts";
import type { Metrics } from "./metrics.ts";

export function sayMemory(metrics: Metrics, log: Log): void {
  const { level, about, hint } = guardedMemoryLevel();
  metrics.set("modelkeep_guarded_memory", "The kind of memory that keys are used in.", { level }, 1);
  const fields = { memory: level, about, ...(hint === undefined ? {} : { hint }) };
  if (level === "plain") log.error("KEYS ARE IN MEMORY THAT IS NOT LOCKED and can be written to swap", fields);
  else log.debug("memory for keys", fields);
}

/** For the process that is nothing but this server: it cannot be undone. */
export function hardenServer(talk: (text: string) => void): void {
  const { untraceable, noCoreFile, noInspector } = hardenProcess();
  if (!untraceable || !noCoreFile)
    talk("warning: this server can be traced or dumped by other processes of its user; modelkeep doctor says more");
  if (!noInspector) talk("warning: Node's inspector is open: whoever reaches it reads every key");
}
