/** Fine-tuning that is validated, interrupted and resumed. */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { encode } from "fast-png";
import { readSafetensors } from "../engine/safetensors.ts";
import { parseTuneFlags } from "../train/finetune/options.ts";
import { type CreateTuner, runTuning } from "../train/finetune/run.ts";
import { splitSequences } from "../train/finetune/split.ts";
import { Tuner } from "../train/finetune/tuner.ts";
import { interrupting, logOf } from "./interrupted_runs.ts";
import { quietly } from "./run_commands.ts";
import { withFolder } from "./temporary_folder.ts";

const SIDE = 24;

/** Pictures with a bright square each, label 2. */
async function writePictures(folder: string, count: number): Promise<void> {
  await Deno.mkdir(`${folder}/images`, { recursive: true });
  await Deno.mkdir(`${folder}/masks`);
  const size = { width: SIDE, height: SIDE, depth: 8, channels: 1 } as const;
  for (let n = 0; n < count; n++) {
    const inside = Uint8Array.from({ length: SIDE * SIDE }, (_, i) => {
      const [x, y] = [i % SIDE, Math.floor(i / SIDE)];
      return Number(x > n && x < n + 9 && y > 5 && y < 17);
    });
    const data = inside.map((here, i) => 30 + 160 * here + i * 7 % 19);
    await Deno.writeFile(`${folder}/images/${n}.png`, encode({ ...size, data }));
    await Deno.writeFile(
      `${folder}/masks/${n}.png`,
      encode({ ...size, data: inside.map((v) => 2 * v) }),
    );
  }
}

const tune = (args: string[], create?: CreateTuner) =>
  quietly((terminal) => runTuning(parseTuneFlags(args)!, terminal, create));

const interruptedAt = (at: number): CreateTuner => async (...args) =>
  interrupting(await Tuner.create(...args), at);

/** All of a run but times. */
async function essence(run: string) {
  const files = await Promise.all(["last", "best"].map(async (name) => {
    const { tensors, metadata } = await readSafetensors(`${run}/${name}.safetensors`);
    return [[...tensors].map(([key, { data }]) => [key, data]), JSON.parse(metadata.run)] as const;
  }));
  return {
    files,
    lines: await logOf(run),
    results: JSON.parse(await Deno.readTextFile(`${run}/results.json`)),
  };
}

Deno.test({
  name:
    "runTuning() ends with the same bits when it was interrupted and resumed, and keeps the best",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (folder) => {
      await writePictures(`${folder}/data`, 5);
      const [whole, parts] = [`${folder}/whole`, `${folder}/parts`];
      const common = "--random-weights 3 --size 32 --lr 2e-3 --clicks 1 --steps 5 --val 0.4";
      const args = [`${folder}/data`, ...`${common} --val-every 2 --freeze trunk`.split(" ")];
      const end = await tune([...args, "--out", whole]);
      equal(end.code, 0);
      match(end.progress, /step 2: mean Dice on validation \d+\.\d\d %, the best so far/);
      match(end.out, /object +Dice \(%\) {2}sequences\nobject 2 +\d+\.\d\d +2\nmean /);

      const first = await tune([...args, "--out", parts], interruptedAt(3));
      equal(first.code, 130);
      match(
        first.progress,
        /Stopped after step 3 of 5, which is saved; go on with: deno task finetune --resume .*parts/,
      );
      const resumed = await tune(["--resume", parts]);
      equal(resumed.code, 0);
      equal(resumed.out, end.out.replaceAll(whole, parts));
      const [a, b] = [await essence(parts), await essence(whole)];
      deepEqual(a, b);
      equal(b.lines.length, 5 + 3);
      equal(b.files[1][1].step, b.results.step);
      const best = Math.max(...b.lines.map(({ validationDice = 0 }) => validationDice));
      equal(b.results.mean, best);
    }),
});

Deno.test({
  name: "runTuning() in f16 ends with the same bits when it was interrupted and resumed",
  ignore: Deno.build.os === "windows",
  fn: () =>
    withFolder(async (folder) => {
      await writePictures(`${folder}/data`, 2);
      const [whole, parts] = [`${folder}/whole`, `${folder}/parts`];
      const common = "--random-weights 3 --size 32 --lr 2e-3 --clicks 0 --steps 4 --precision f16";
      const args = [`${folder}/data`, ...common.split(" "), "--freeze", "trunk,neck"];
      equal((await tune([...args, "--out", whole])).code, 0);
      equal((await tune([...args, "--out", parts], interruptedAt(2))).code, 130);
      await rejects(tune(["--resume", parts, "--precision", "f32"]), {
        message: /: --precision is f16 in the checkpoint and absent here\.$/,
      });
      equal((await tune(["--resume", parts])).code, 0);
      const [a, b] = await Promise.all([whole, parts].map(async (run) => {
        const { tensors, metadata } = await readSafetensors(`${run}/last.safetensors`);
        const { state } = JSON.parse(metadata.run);
        const lines = await logOf(run);
        return { data: [...tensors].map(([key, { data }]) => [key, data]), state, lines };
      }));
      deepEqual(a, b);
      const { scaler: { taken, skipped } } = a.state;
      deepEqual([taken + skipped, a.state.position], [4, 4]);
      ok(taken > 0 && a.lines.every(({ lossScale }) => lossScale > 0));
    }),
});

Deno.test("runTuning() refuses to continue another run, and says what differs", () =>
  withFolder(async (folder) => {
    await writePictures(`${folder}/data`, 2);
    const run = `${folder}/run`;
    const args = "--random-weights 3 --size 32 --clicks 0 --steps 1 --freeze trunk,neck";
    await tune([`${folder}/data`, ...args.split(" "), "--out", run]);
    const differs = (options: string, message: RegExp) =>
      rejects(tune(["--resume", run, ...options.split(" ")]), { name: "UserError", message });
    await differs("--lr 1", /^Cannot continue from .*last\.safetensors: --lr is 0\.000005 in the /);
    await differs("--model t", /--model is nano in the checkpoint and sam2\.1_hiera_t here\.$/);
    await differs("--val 0.5", /: the share of --val is none in the checkpoint and 0\.5 here\.$/);
    await Deno.copyFile(`${folder}/data/images/0.png`, `${folder}/data/images/1.png`);
    await differs(
      "--seed 0",
      /: the hash of the data is [0-9a-f]{64} in .* and [0-9a-f]{64} here\.$/,
    );
    await rejects(tune([`${folder}/data`, ...args.split(" "), "--out", run]), {
      message: /holds a run already: continue it with --resume /,
    });
  }));

const named = (names: string[]) =>
  names.map((name) => ({ id: name, name, count: 1, read: () => Promise.reject(new Error(name)) }));

Deno.test("splitSequences() takes a share by the seed, or a fold of nnU-Net", () =>
  withFolder(async (folder) => {
    const all = named(["a", "b", "c", "d", "e"]);
    const names = (list: readonly { name: string }[]) => list.map(({ name }) => name).join("");
    const share = { holdOut: 0.4, fold: null };
    const drawn = await splitSequences(all, folder, share, 1);
    equal(drawn.validation.length, 2);
    equal([...names(drawn.training) + names(drawn.validation)].sort().join(""), "abcde");
    deepEqual(await splitSequences(all, folder, share, 1), drawn);
    const others = await Promise.all(
      [2, 3, 4].map((seed) => splitSequences(all, folder, share, seed)),
    );
    ok(others.some(({ validation }) => names(validation) !== names(drawn.validation)));
    await rejects(splitSequences(all.slice(0, 1), folder, share, 1), { message: /too few seq/ });
    const fold = (n: number) => splitSequences(all, folder, { holdOut: null, fold: n }, 0);
    const path = `${folder}/splits_final.json`;
    await rejects(fold(0), { name: "DataError", message: /splits_final\.json: it does not exist/ });
    const folds = [{ train: ["a"], val: ["c", "b"] }, { train: ["a", "x"], val: ["b"] }];
    await Deno.writeTextFile(path, JSON.stringify(folds));
    const { training, validation } = await fold(0);
    deepEqual([names(training), names(validation)], ["a", "cb"]);
    await rejects(fold(1), { message: /names x, which .* does not have\.$/ });
    await rejects(fold(2), { message: /^There is no fold 2: .* has folds 0 to 1\.$/ });
    await Deno.writeTextFile(path, '[{"train": ["a"], "val": ["a"]}]');
    await rejects(fold(0), { message: /has a on both sides\.$/ });
    await Deno.writeTextFile(path, '[{"train": 1}]');
    await rejects(fold(0), { message: /is no list of folds with "train" and "val"\.$/ });
  }));
