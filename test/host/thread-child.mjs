/** Starts threads of sealing and ends them at once, over and over: whatever they were loading then. */
import { SealThreads } from "../../src/host/index.ts";

const rounds = Number(process.argv[2]);
for (let round = 0; round < rounds; round++) {
  const threads = await SealThreads.start({ workBytes: 0, slotBytes: 64, threads: 4 });
  await new Promise((resolve) => setTimeout(resolve, (round * 37) % 180));
  await threads.close();
}
process.stdout.write(`${rounds} rounds`);
