/** Says how well this server can keep keys: in the metrics, and loudly in the log when it is worse than it could be. */
import type { Log } from "../base/index.ts";
import { guardedMemoryLevel, hardenProcess } from "../host/index.ts";
import type { Metrics } from "./metrics.ts";

export function sayMemory(metrics: Metrics, log: Log): void {
  const { level, about, hint } = guardedMemoryLevel();
  metrics.set("modelkeep_guarded_memory", "The kind of memory that keys are used in.", { level }, 1);
  if (level === "secret") log.info("memory for keys", { level, about });
  else if (level === "locked") log.warn("memory for keys could be better", { level, about, hint });
  else log.error("KEYS ARE IN MEMORY THAT IS NOT LOCKED and can be written to swap", { level, about, hint });
}

/** For the process that is nothing but this server: it cannot be undone. */
export function hardenServer(talk: (text: string) => void): void {
  const { untraceable, noCoreFile, noInspector } = hardenProcess();
  if (!untraceable || !noCoreFile)
    talk("warning: this server can be traced or dumped by other processes of its user; modelkeep doctor says more");
  if (!noInspector) talk("warning: Node's inspector is open: whoever reaches it reads every key");
}
