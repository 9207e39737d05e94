/** What helps where a command needs more GPU memory than there is. */
import { MemoryError, UserError } from "../../engine/mod.ts";

/** For commands that choose the model. */
export const CHOOSE_SMALLER =
  "Smaller values of --batch and --unlabelled-batch (with --accumulate for as large steps) or " +
  "--size, a smaller --model, and --gradient-checkpointing need less.";

/** For commands that take the model of a run as it is. */
export const TRAIN_SMALLER =
  "The run decides on the model and its --size: train one with smaller ones, or take an adapter " +
  "with more memory.";

/**
 * Does `work`; where memory is missing, the error also says what helps.
 *
 * @throws {UserError} in place of a {@link MemoryError}.
 */
export async function advised<T>(advice: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof MemoryError)) throw error;
    throw new UserError(`${error.message} ${advice}`, { cause: error });
  }
}
