/** Work in parallel within a number of tasks and a sum of bytes; the first failure stops what has not begun. */

interface Limits {
  readonly atOnce: number;
  readonly budgetBytes: number;
}

export interface Task {
  /** What it takes of the budget; one that is larger than all of it runs alone. */
  readonly bytes: number;
  run(): Promise<void>;
}

/** In the order of the list, as far as the limits let them begin. Waits for those that began, also when one fails. */
export async function runWithin({ atOnce, budgetBytes }: Limits, tasks: Iterable<Task>): Promise<void> {
  const running = new Set<Promise<void>>();
  let taken = 0;
  let failure: { readonly error: unknown } | undefined;
  for (const task of tasks) {
    while (running.size > 0 && (running.size >= atOnce || taken + task.bytes > budgetBytes))
      await Promise.race(running);
    if (failure) break;
    taken += task.bytes;
    const one: Promise<void> = task
      .run()
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => {
        taken -= task.bytes;
        running.delete(one);
      });
    running.add(one);
  }
  await Promise.all(running);
  if (failure) throw failure.error;
}
