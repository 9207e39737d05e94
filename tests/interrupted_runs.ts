/** Runs that are interrupted, and what must not depend on it. */
import type { LoopTrainer } from "../train/run/training.ts";

/** Lets a trainer ask for a stop, by a signal of this process in the middle of step `at`. */
export function interrupting<T extends Pick<LoopTrainer, "step" | "position">>(
  trainer: T,
  at: number,
): T {
  const step = trainer.step.bind(trainer);
  trainer.step = async () => {
    if (trainer.position + 1 === at) {
      Deno.kill(Deno.pid, "SIGTERM");
      // The listening thread needs a moment, as a signal between two steps does.
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return await step();
  };
  return trainer;
}

/** The lines of a run's log, without times. */
export async function logOf(run: string) {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trimEnd().split("\n");
  return lines.map((line) => ({ ...JSON.parse(line), milliseconds: 0 }));
}
