/** Floor 7: a program that reads a sealed model from memory. */
export { loaderError } from "./errors.ts";
export type { HostPromise, RunReady, RunResult, RunSealedOptions } from "./loader.ts";
export { hostPromises } from "./promises.ts";
export { runSealedModel } from "./run.ts";
