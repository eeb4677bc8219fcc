/** What a thread of the tests does: it counts, fails in every way, or fills its heap. */
import { baseError } from "../../src/base/index.ts";
import { answerThreadTask } from "../../src/host/index.ts";

answerThreadTask(async (data, tell) => {
  const what = data as string;
  if (what === "count") for (let count = 1; count <= 3; count++) tell(count);
  if (what === "known") throw baseError("INVALID_INPUT", { detail: "seven", hint: "eight" });
  if (what === "unknown") throw new TypeError("no such thing");
  if (what === "end") process.exit(3);
  if (what === "wait") await new Promise(() => setInterval(() => undefined, 1000));
  if (what === "fill") {
    tell("filling");
    for (const kept: unknown[] = []; ; ) kept.push(Array.from({ length: 1000 }, (_, at) => ({ at })));
  }
  return { what };
});
