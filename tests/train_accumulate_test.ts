/** `deno task train --accumulate`: steps of several micro-batches. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { runtime } from "../engine/mod.ts";
import { sssConfig } from "../model/sss/config.ts";
import { createPhantom } from "../train/data/phantom.ts";
import { defaults, parseTrainFlags } from "../train/run/options.ts";
import { type SavedTrainer, Trainer, type TrainOptions } from "../train/trainer.ts";
import { inFolder, trainWith } from "./run_commands.ts";

const DATA = createPhantom({ size: 32, train: 2, labeled: 1, validation: 1, test: 1 });

/** A small trainer. */
const make = (changes: Partial<TrainOptions>) =>
  Trainer.create({ ...defaults.train, size: 32, steps: 6, batchLabelled: 2, ...changes }, DATA);

/** SSS from the first step on. */
const WHOLE: Partial<TrainOptions> = {
  accumulate: 2,
  batchUnlabelled: 1,
  precision: "f16",
  gradientCheckpointing: true,
  sss: sssConfig({ teacherWarmup: 0 }),
};

/** The first moments. */
const moments = ({ tensors }: SavedTrainer) =>
  new Map([...tensors].filter(([key]) => key.startsWith("first.")));

Deno.test("Trainer takes the mean of the micro-batches' gradients and losses", async () => {
  // With this seed the second step draws no memories, as the first one cannot.
  const common = { method: "supervised", clip: 1e9, weightDecay: 0, seed: 2 } as const;
  const both = await make({ ...common, accumulate: 2 });
  const report = await both.step();
  equal(report.images, 4);
  const mean = moments(await both.save());

  // Steps that leave the weights as they are: the moments tell the gradients.
  const single = await make({ ...common, learningRate: 0 });
  const [first, before] = [await single.step(), moments(await single.save())];
  const [second, after] = [await single.step(), moments(await single.save())];
  for (const [name, value] of Object.entries(report.losses)) {
    const expected = (first.losses[name] + second.losses[name]) / 2;
    ok(Math.abs(value - expected) < 1e-5 * expected, `${name}: ${value}, not ${expected}`);
  }
  let largest = 0;
  for (const [key, { data }] of mean) {
    const [old, now] = [before.get(key)!.data, after.get(key)!.data];
    data.forEach((value, i) => {
      // AdamW keeps 0.9 of its first moment and adds 0.1 of the gradient.
      const gradients = [10 * Number(old[i]), 10 * (Number(now[i]) - 0.9 * Number(old[i]))];
      const expected = (gradients[0] + gradients[1]) / 2;
      // Of two micro-batches that were told apart by subtracting.
      const bound = 1e-5 * (Math.abs(gradients[0]) + Math.abs(gradients[1])) + 1e-8;
      ok(Math.abs(10 * Number(value) - expected) < bound, `${key}: ${value}, not ${expected}`);
      largest = Math.max(largest, Math.abs(expected));
    });
  }
  ok(largest > 1e-3, "there are gradients");
});

Deno.test("Trainer goes on bit by bit in the middle of a run with micro-batches", async () => {
  const whole = await make(WHOLE);
  const reports = [];
  while (whole.position < 2) reports.push(await whole.step());
  const half = await whole.save();
  const { tensors: saved } = structuredClone(half);
  reports.push(await whole.step());
  const end = await whole.save();

  // Two micro-batches of two labelled and three views of one unlabelled slice.
  deepEqual(reports.map(({ images }) => images), [10, 10, 10]);
  ok(reports.every(({ losses, scaler }) => losses.unlabelled >= 0 && scaler!.scale > 1));
  const other = await make(WHOLE);
  await other.load({ ...half, tensors: saved });
  const { milliseconds: _, ...report } = await other.step();
  const { milliseconds: __, ...expected } = reports[2];
  deepEqual(report, expected);
  deepEqual(await other.save(), end);
});

Deno.test("Trainer takes memory for sums only where there are several micro-batches to add", async () => {
  const { counters } = await runtime();
  const bytes = async (accumulate: number, data = DATA) => {
    const before = counters.liveBytes;
    const options = { ...defaults.train, size: 32, method: "supervised", accumulate } as const;
    await Trainer.create(options, data);
    return counters.liveBytes - before;
  };
  await bytes(1);
  const [one, two] = [await bytes(1), await bytes(2)];
  ok(two > one, `${one} ${two}`);
  const unread = { ...DATA, labelled: [], unlabelled: [] };
  equal(await bytes(2, unread), await bytes(1, unread));
});

Deno.test("train --accumulate is a part of the run, and counts from 1 on", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const args = ["--data", `${folder}/data`, "--steps", "2", "--accumulate", "3"];
    equal((await trainWith([...args, "--out", run])).code, 0);
    equal(JSON.parse(await Deno.readTextFile(`${run}/config.json`)).train.accumulate, 3);
    equal((await trainWith(["--resume", run])).code, 0);
    await rejects(trainWith(["--resume", run, "--accumulate", "2"]), {
      name: "UserError",
      message: /: --accumulate is 3 in the checkpoint and 2 here\.$/,
    });
    for (const wrong of ["0", "1.5", "some"]) {
      throws(() => parseTrainFlags(["--accumulate", wrong]), {
        name: "UserError",
        message: /--accumulate <n>.*whole number/,
      });
    }
  }));
