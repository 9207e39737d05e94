/** Runs the commands in this process, with a fake trainer unless a test gives another. */
import { parseEvalFlags, runEvaluation } from "../train/run/eval_run.ts";
import { parseTrainFlags } from "../train/run/options.ts";
import { parsePredictFlags, runPrediction } from "../train/run/predict_run.ts";
import type { Terminal } from "../train/run/progress.ts";
import { type CreateTrainer, runTraining } from "../train/run/train_run.ts";
import { FakeTrainer } from "./fake_trainer.ts";
import { withFolder } from "./temporary_folder.ts";
import { writeTinyAcdc } from "./tiny_acdc.ts";

export const fake: CreateTrainer = (options, data) =>
  Promise.resolve(new FakeTrainer(options, data));

/** A folder with a data set in `data`, removed afterwards. */
export function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  return withFolder(async (folder) => {
    await writeTinyAcdc(`${folder}/data`);
    await test(folder);
  });
}

/** Runs with all output taken in: the tables, and the progress. */
export async function quietly(work: (terminal: Terminal) => Promise<number>) {
  const log = console.log;
  const lines: string[] = [];
  console.log = (...values) => lines.push(values.join(" "));
  const { terminal, written } = recorder(false);
  try {
    return { code: await work(terminal), out: lines.join("\n"), progress: written.join("") };
  } finally {
    console.log = log;
  }
}

export const trainWith = (args: string[], create = fake) =>
  quietly((terminal) => runTraining(parseTrainFlags(args)!, create, terminal));

export const evalWith = (args: string[], create = fake) =>
  quietly((terminal) => runEvaluation(parseEvalFlags(args)!, create, terminal));

export const predictWith = (args: string[], create = fake) =>
  quietly(async () => await runPrediction(parsePredictFlags(args)!, create));

/** A terminal that remembers what is written to it. */
export function recorder(rewrites: boolean) {
  const written: string[] = [];
  const write = (text: string) => void written.push(text);
  return { terminal: { rewrites, columns: () => 12, write }, written };
}
