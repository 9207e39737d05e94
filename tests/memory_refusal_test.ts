import { isUserError, type MemoryLimits } from "../engine/mod.ts";
import { run as evaluate } from "../train/commands/eval.ts";
import { run as predict } from "../train/commands/predict.ts";
import { run as train } from "../train/commands/train.ts";
import { onSchedule, withMemory } from "./engine_modes.ts";
import { inFolder } from "./run_commands.ts";
import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";

/** The message with which a command refuses, on a device that may hold less than it could. */
async function refusal(
  limits: Partial<MemoryLimits>,
  command: () => Promise<number>,
): Promise<string> {
  return await withMemory(limits, async (rt) => {
    const { dispatches } = rt.counters;
    try {
      await command();
    } catch (error) {
      ok(isUserError(error), `${error}`);
      equal(rt.counters.dispatches, dispatches, "nothing has been computed");
      equal(rt.failure, undefined);
      return error.message;
    }
    throw new Error("The command has not refused.");
  });
}

/** Runs a command whose tables are of no interest. */
async function quietly(command: () => Promise<number>): Promise<number> {
  const { log } = console;
  console.log = () => {};
  try {
    return await command();
  } finally {
    console.log = log;
  }
}

Deno.test("train, eval and predict refuse in a sentence when memory does not suffice", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const options = ["--data", `${folder}/data`, "--labeled", "1", "--out", run];
    // The parameters fit, the intermediates of a step do not.
    const roomForWeights = () => 2 ** 26;
    match(
      await refusal({ totalBytes: roomForWeights }, () => train([...options, "--size", "96"])),
      /^The work needs .* of GPU memory; this machine can give 64\.0 MiB\. Smaller values of --batch/,
    );
    deepEqual([...Deno.readDirSync(run)], []);
    const small = ["--size", "32", "--steps", "1", "--batch", "1", "--method", "supervised"];
    equal(await quietly(() => train([...options, ...small, "--eval-limit", "1"])), 0);
    // Plans that ran in this process are not made anew; those of another schedule are.
    await onSchedule("gpu-nosubgroup", async () => {
      const totalBytes = () => 2 ** 20;
      const advice =
        /^The work needs .* this machine can give 1\.0 MiB\. The run decides on the model/;
      match(await refusal({ totalBytes }, () => evaluate([run])), advice);
      const scan = `${folder}/data/data/patient005_frame01.h5`;
      match(
        await refusal({ totalBytes }, () => predict([run, scan, "--out", `${folder}/out`])),
        advice,
      );
    });
  }));
