import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { readSafetensors } from "../engine/safetensors.ts";
import { defaults } from "../train/run/options.ts";
import type { CreateTrainer } from "../train/run/train_run.ts";
import { Trainer } from "../train/trainer.ts";
import { interrupting, logOf } from "./interrupted_runs.ts";
import { evalWith, fake, inFolder, trainWith } from "./run_commands.ts";

/** What must not depend on interruptions: the log without times, and both checkpoints. */
async function essence(run: string) {
  const lines = await logOf(run);
  const files = await Promise.all(
    ["last", "best"].map((name) => readSafetensors(`${run}/${name}.safetensors`)),
  );
  const results = JSON.parse(await Deno.readTextFile(`${run}/results.json`));
  return { lines, files, results };
}

Deno.test("runTraining() leaves all files of a run, and tables on the volumes' own grid", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const { code, out } = await trainWith(
      ["--data", `${folder}/data`, "--labeled", "1", "--steps", "6", "--out", run],
    );
    equal(code, 0);
    match(out, /^Test set of acdc, all 1 volumes; averaged weights of last.safetensors \(step 6\)/);
    match(
      out,
      /prompt-free \(prompts by PCSW; no label is read\):\nMeans .* distances in voxels\./,
    );
    match(out, /Empty masks: Dice and Jaccard 1 if both are empty/);
    match(out, /oracle prompts \(boxes of the ground truth\):\n(.*\n)*mean +100\.00 +100\.00/);
    const names = [...Deno.readDirSync(run)].map((e) => e.name).sort();
    deepEqual(names, [
      "config.json",
      "last.safetensors",
      "metrics.jsonl",
      "overlays",
      "results.json",
    ]);
    deepEqual([...Deno.readDirSync(`${run}/overlays`)].map((e) => e.name), [
      "patient005_frame01.png",
    ]);
    const { tables } = JSON.parse(await Deno.readTextFile(`${run}/results.json`));
    const [promptFree, oracle] = Object.values(tables) as {
      allVolumes: { mean: { dice: number } };
    }[];
    equal(oracle.allVolumes.mean.dice, 1);
    ok(promptFree.allVolumes.mean.dice < 1);
  }));

Deno.test("runTraining() gives distances in mm when --spacing is given", () =>
  inFolder(async (folder) => {
    const args = ["--data", `${folder}/data`, "--steps", "1", "--spacing", "10,1.5,1.5"];
    const { out } = await trainWith([...args, "--out", `${folder}/run`]);
    match(out, /distances in mm\./);
  }));

const interruptedAt = (at: number, create = fake): CreateTrainer => async (...args) =>
  interrupting(await create(...args), at);

Deno.test({
  name: "runTraining() ends with the same bits when it was interrupted and resumed",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const common = ["--data", `${folder}/data`, "--steps", "9", "--seed", "5"];
      const args = [...common, "--val-every", "2", "--checkpoint-every", "3"];
      const whole = `${folder}/whole`, parts = `${folder}/parts`;
      equal((await trainWith([...args, "--out", whole])).code, 0);

      equal((await trainWith([...args, "--out", parts], interruptedAt(5))).code, 130);
      equal((await readSafetensors(`${parts}/last.safetensors`)).tensors.size, 1);
      equal((await trainWith(["--resume", parts], interruptedAt(8))).code, 130);
      const end = await trainWith(["--resume", parts]);
      equal(end.code, 0);
      match(end.out, /best.safetensors \(step \d, best on validation with a mean Dice of/);
      const [a, b] = [await essence(parts), await essence(whole)];
      equal(a.lines.length, 9 + 5);
      deepEqual(a, b);

      const again = await evalWith([whole]);
      equal(end.out.startsWith(again.out), true);
      match((await evalWith([whole, "--checkpoint", "last"])).out, /last.safetensors \(step 9\)/);
    }),
});

Deno.test({
  name: "runTraining() of a real model ends with the same bits when it was interrupted and resumed",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const small = ["--size", "32", "--batch", "2", "--steps", "4", "--val-every", "4"];
      const args = ["--data", `${folder}/data`, "--labeled", "1", ...small];
      const whole = `${folder}/whole`, parts = `${folder}/parts`;
      const real = Trainer.create;
      const { code, out } = await trainWith([...args, "--out", whole], real);
      equal(code, 0);
      equal((await trainWith([...args, "--out", parts], interruptedAt(3, real))).code, 130);
      equal((await trainWith(["--resume", parts], real)).code, 0);
      const [a, b] = [await essence(parts), await essence(whole)];
      ok(a.files[0].tensors.size > 100);
      equal(out.startsWith((await evalWith([whole], real)).out), true);
      deepEqual(a, b);
    }),
});

Deno.test("runTraining() refuses to resume when options or data disagree", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    await trainWith(["--data", `${folder}/data`, "--steps", "2", "--out", run]);
    await rejects(trainWith(["--resume", run, "--seed", "3", "--lr", "0.5"]), {
      name: "UserError",
      message:
        `Cannot continue from ${run}/last.safetensors: --seed is 0 in the checkpoint and 3 ` +
        `here; --lr is ${defaults.train.learningRate} in the checkpoint and 0.5 here.`,
    });
    const before = await Deno.readTextFile(`${run}/config.json`);
    await Deno.copyFile(
      `${folder}/data/data/patient005_frame01.h5`,
      `${folder}/data/data/patient004_frame01.h5`,
    );
    const changed =
      /the hash of the data is [0-9a-f]{64} in the checkpoint and [0-9a-f]{64} here\.$/;
    await rejects(trainWith(["--resume", run]), { name: "UserError", message: changed });
    equal(await Deno.readTextFile(`${run}/config.json`), before);
    await rejects(evalWith([run]), { name: "UserError", message: /data of the run have changed/ });
    equal((await evalWith([run, "--data", `${folder}/data`])).code, 0);
  }));

Deno.test("runTraining() throws and keeps the checkpoint when a loss is no longer finite", () =>
  inFolder(async (folder) => {
    const create: CreateTrainer = async (options, data) => {
      const trainer = await fake(options, data);
      const step = trainer.step.bind(trainer);
      trainer.step = async () => {
        const report = await step();
        return report.step < 4 ? report : { ...report, losses: { total: NaN } };
      };
      return trainer;
    };
    const run = `${folder}/run`;
    const args = ["--data", `${folder}/data`, "--checkpoint-every", "1", "--out", run];
    await rejects(trainWith(args, create), {
      name: "UserError",
      message:
        `The loss "total" is NaN at step 4; try a smaller --lr than ${defaults.train.learningRate}.`,
    });
    const { metadata } = await readSafetensors(`${run}/last.safetensors`);
    equal(JSON.parse(metadata.run).step, 3);
  }));
