/** `npm run quickstart`: the main job from end to end on a real model and a real engine, then four refusals, then the record. */

import { installEngine } from "./engine.ts";
import { Surroundings } from "./quickstart/processes.ts";
import { Story } from "./quickstart/story.ts";

const started = performance.now();
const around = new Surroundings();
const story = new Story(process.stdout, started);
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    interrupted = true;
    void around.end().then(() => process.exit(130));
  });
}
try {
  installEngine();
  const { tell } = await import("./quickstart/tell.ts");
  await tell(around, story);
  story.end();
} catch (error) {
  if (!interrupted) {
    process.stderr.write(
      `\nerror: ${error instanceof Error ? error.message : String(error)}\nhint: npm exec -- modelkeep doctor\n`,
    );
    process.exitCode = 1;
  }
} finally {
  await around.end();
}
