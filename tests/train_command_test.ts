import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { isUserError } from "../engine/errors.ts";
import { readSafetensors } from "../engine/safetensors.ts";
import type { VolumeShape } from "../train/data/dataset.ts";
import { type NiftiHeader, readNifti, writeNifti } from "../train/data/nifti.ts";
import { readVolume } from "../train/data/read_volume.ts";
import { parseEvalFlags, runEvaluation } from "../train/run/eval_run.ts";
import { parseTrainFlags } from "../train/run/options.ts";
import { parsePredictFlags, runPrediction } from "../train/run/predict_run.ts";
import { Pace, ProgressLine, type Terminal } from "../train/run/progress.ts";
import { type CreateTrainer, runTraining } from "../train/run/train_run.ts";
import { Trainer } from "../train/trainer.ts";
import { FakeTrainer } from "./fake_trainer.ts";
import { writeHdf5, writeTinyAcdc } from "./tiny_acdc.ts";

const fake: CreateTrainer = (options, data) => Promise.resolve(new FakeTrainer(options, data));

/** A folder with a data set in `data`, removed afterwards. */
async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await writeTinyAcdc(`${folder}/data`);
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs with all output taken in: the tables, and the progress. */
async function quietly(work: (terminal: Terminal) => Promise<number>) {
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

const trainFake = (args: string[], create = fake) =>
  quietly((terminal) => runTraining(parseTrainFlags(args)!, create, terminal));

const evalFake = (args: string[]) =>
  quietly((terminal) => runEvaluation(parseEvalFlags(args)!, fake, terminal));

const predictFake = (args: string[]) =>
  quietly(async () => await runPrediction(parsePredictFlags(args)!, fake));

/** A terminal that remembers what is written to it. */
function recorder(rewrites: boolean) {
  const written: string[] = [];
  const write = (text: string) => void written.push(text);
  return { terminal: { rewrites, columns: () => 12, write }, written };
}

/** What must not depend on interruptions: the log without times, and both checkpoints. */
async function essence(run: string) {
  const lines = (await Deno.readTextFile(`${run}/metrics.jsonl`)).trimEnd().split("\n")
    .map((line) => ({ ...JSON.parse(line), milliseconds: 0 }));
  const files = await Promise.all(
    ["last", "best"].map((name) => readSafetensors(`${run}/${name}.safetensors`)),
  );
  const results = JSON.parse(await Deno.readTextFile(`${run}/results.json`));
  return { lines, files, results };
}

Deno.test("runTraining() leaves all files of a run, and tables on the volumes' own grid", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const { code, out } = await trainFake(
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
    const { out } = await trainFake([...args, "--out", `${folder}/run`]);
    match(out, /distances in mm\./);
  }));

/** Asks for a stop by a signal of this process in the middle of step `at`. */
const interruptedAt = (at: number, create = fake): CreateTrainer => async (options, data) => {
  const trainer = await create(options, data);
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
};

Deno.test({
  name: "runTraining() ends with the same bits when it was interrupted and resumed",
  ignore: Deno.build.os === "windows",
  fn: () =>
    inFolder(async (folder) => {
      const common = ["--data", `${folder}/data`, "--steps", "9", "--seed", "5"];
      const args = [...common, "--val-every", "2", "--checkpoint-every", "3"];
      const whole = `${folder}/whole`, parts = `${folder}/parts`;
      equal((await trainFake([...args, "--out", whole])).code, 0);

      equal((await trainFake([...args, "--out", parts], interruptedAt(5))).code, 130);
      equal((await readSafetensors(`${parts}/last.safetensors`)).tensors.size, 1);
      equal((await trainFake(["--resume", parts], interruptedAt(8))).code, 130);
      const end = await trainFake(["--resume", parts]);
      equal(end.code, 0);
      match(end.out, /best.safetensors \(step \d, best on validation with a mean Dice of/);
      const [a, b] = [await essence(parts), await essence(whole)];
      equal(a.lines.length, 9 + 5);
      deepEqual(a, b);

      const again = await evalFake([whole]);
      equal(end.out.startsWith(again.out), true);
      match((await evalFake([whole, "--checkpoint", "last"])).out, /last.safetensors \(step 9\)/);
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
      equal((await trainFake([...args, "--out", whole], real)).code, 0);
      equal((await trainFake([...args, "--out", parts], interruptedAt(3, real))).code, 130);
      equal((await trainFake(["--resume", parts], real)).code, 0);
      const [a, b] = [await essence(parts), await essence(whole)];
      ok(a.files[0].tensors.size > 100);
      deepEqual(a, b);
    }),
});

Deno.test("runTraining() refuses to resume when options or data disagree", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    await trainFake(["--data", `${folder}/data`, "--steps", "2", "--out", run]);
    await rejects(trainFake(["--resume", run, "--seed", "3", "--lr", "0.5"]), {
      name: "UserError",
      message:
        `Cannot continue from ${run}/last.safetensors: --seed is 0 in the checkpoint and 3 ` +
        "here; --lr is 0.001 in the checkpoint and 0.5 here.",
    });
    const before = await Deno.readTextFile(`${run}/config.json`);
    await Deno.copyFile(
      `${folder}/data/data/patient005_frame01.h5`,
      `${folder}/data/data/patient004_frame01.h5`,
    );
    const changed =
      /the hash of the data is [0-9a-f]{64} in the checkpoint and [0-9a-f]{64} here\.$/;
    await rejects(trainFake(["--resume", run]), { name: "UserError", message: changed });
    equal(await Deno.readTextFile(`${run}/config.json`), before);
    await rejects(evalFake([run]), { name: "UserError", message: /data of the run have changed/ });
    equal((await evalFake([run, "--data", `${folder}/data`])).code, 0);
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
    await rejects(trainFake(args, create), {
      name: "UserError",
      message: 'The loss "total" is NaN at step 4; try a smaller --lr than 0.001.',
    });
    const { metadata } = await readSafetensors(`${run}/last.safetensors`);
    equal(JSON.parse(metadata.run).step, 3);
  }));

Deno.test("runPrediction() writes labels with the place of the scan, and overlays", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`, out = `${folder}/out`, scans = `${folder}/scans`;
    await trainFake(["--data", `${folder}/data`, "--steps", "1", "--out", run]);
    await Deno.mkdir(scans);
    const stored = `${folder}/data/data/patient005_frame01.h5`;
    const { image, shape } = await readVolume(stored);
    const header = oblique(shape);
    await writeNifti(`${scans}/a.nii.gz`, Uint8Array.from(image, (v) => 100 + 150 * v), header);
    await Deno.copyFile(stored, `${scans}/b.h5`);
    const { code, out: text } = await predictFake([run, scans, "--out", out]);
    equal(code, 0);
    match(text, /a.nii.gz \(RV \d+\.\d ml, Myo .*\n.*b.h5 -> .*b.nii.gz \(RV \d+ voxels, /);
    const a = await readNifti(`${out}/a.nii.gz`), b = await readNifti(`${out}/b.nii.gz`);
    deepEqual(a.header, (await readNifti(`${scans}/a.nii.gz`)).header);
    deepEqual(b.shape, shape);
    // Both have grey levels from 0 to 1 when they reach the trainer, so it finds the same discs.
    for (const { image } of [a, b]) deepEqual([...new Set(image)].sort(), [0, 1, 3]);
    for (const name of ["a", "b"]) ok((await Deno.stat(`${out}/${name}.png`)).size > 100);
  }));

Deno.test("runPrediction() throws a sentence when scans or folders are wrong", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`, scans = `${folder}/data/data`, out = `${folder}/out`;
    await trainFake(["--data", `${folder}/data`, "--steps", "1", "--out", run]);
    const predict = (...args: string[]) => predictFake(args).then(() => "", (e) => e.message);
    match(await predict(run, `${folder}/none.nii`, "--out", out), /none\.nii: it does not exist/);
    match(await predict(run, folder, "--out", out), /has no \.nii, \.nii\.gz or \.h5 file/);
    match(await predict(run, scans, "--out", scans), /lies in the folder/);
    match(await predict(scans, scans, "--out", out), /is no folder of a run/);
    await Deno.writeTextFile(`${scans}/patient005_frame01.nii`, "text");
    match(await predict(run, scans, "--out", out), /would both be written to one file/);
    match(
      await predict(run, `${scans}/patient005_frame01.nii`, "--out", out),
      /frame01\.nii is neither a NIfTI/,
    );
    match(await predict(run, scans), /Required option '--out <dir>'/);
  }));

/** A place in space with a rotation, unequal voxels and an offset. */
function oblique([S, H, W]: VolumeShape): NiftiHeader {
  const srow = [-1.2, 0.3, 0.1, 40, 0.2, 1.4, -0.5, -30, 0.1, 0.4, 9.5, 12].map(Math.fround);
  return {
    dims: [W, H, S],
    pixDims: [1, 1.25, 1.5, 9.5],
    units: 2,
    qformCode: 0,
    sformCode: 1,
    quaternion: [0, 0, 0],
    qoffset: [0, 0, 0],
    srow,
    affine: [],
    orientation: "",
  };
}

// ---- signals -----------------------------------------------------------------------------------

/** Starts a training of long steps that block the event loop, and signals it when it runs. */
async function signalled(folder: string, pauses: number[]) {
  const module = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);
  const args = ["--data", `${folder}/data`, "--checkpoint-every", "1", "--out", `${folder}/run`];
  const source = `
    import { parseTrainFlags } from ${module("../train/run/options.ts")};
    import { runTraining } from ${module("../train/run/train_run.ts")};
    import { FakeTrainer } from ${module("./fake_trainer.ts")};
    const create = async (options, data) => new FakeTrainer(options, data, 1500);
    Deno.exit(await runTraining(parseTrainFlags(${JSON.stringify(args)}), create));`;
  const config = new URL("../deno.json", import.meta.url).pathname;
  await Deno.writeTextFile(`${folder}/main.ts`, source);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--config", config, `${folder}/main.ts`],
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const lines: { text: string; at: number }[] = [];
  let sent: number[] = [];
  for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
    for (const text of chunk.trimEnd().split("\n")) lines.push({ text, at: performance.now() });
    if (sent.length > 0 || !lines.some(({ text }) => text.startsWith("step 1/"))) continue;
    sent = pauses.map((pause) => performance.now() + pause);
    for (const pause of pauses) setTimeout(() => child.kill("SIGINT"), pause);
  }
  return { lines, sent, code: (await child.status).code, ended: performance.now() };
}

const ignore = Deno.build.os === "windows";

Deno.test({
  name: "runTraining() acknowledges Ctrl-C at once and stops after the step when it comes in one",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const { lines, sent, code } = await signalled(folder, [300]);
      equal(code, 130);
      const said = lines.find(({ text }) => text.startsWith("Stopping:"));
      ok(said && said.at - sent[0] < 600, "the acknowledgement waits for the step");
      match(
        lines.at(-1)!.text,
        /^Stopped after step 2 of 300, which is saved; go on with: deno task train --resume /,
      );
      equal(
        JSON.parse((await readSafetensors(`${folder}/run/last.safetensors`)).metadata.run).step,
        2,
      );
    }),
});

Deno.test({
  name: "runTraining() ends at once with its checkpoint intact when a second signal comes",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const { sent, code, ended } = await signalled(folder, [100, 500]);
      equal(code, 130);
      ok(ended - sent[1] < 600, "the process waits for the step");
      equal(
        JSON.parse((await readSafetensors(`${folder}/run/last.safetensors`)).metadata.run).step,
        1,
      );
    }),
});

// ---- bad input ---------------------------------------------------------------------------------

/** The sentence that arguments, or a data set spoilt by `spoil`, lead to. */
async function complaint(
  args: string[],
  spoil: (data: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<string> {
  let message = "";
  await inFolder(async (folder) => {
    await spoil(`${folder}/data`);
    try {
      const all = args.map((arg) => arg.replace("DIR", folder));
      await trainFake(["--data", `${folder}/data`, "--out", `${folder}/run`, ...all]);
    } catch (error) {
      if (!isUserError(error)) throw error;
      message = error.message.replaceAll(folder, "DIR");
    }
    equal(await Deno.stat(`${folder}/run`).then(() => true, () => false), false);
  });
  return message;
}

Deno.test("parseTrainFlags() throws a sentence when an option is wrong", async () => {
  const cases: [string[], RegExp][] = [
    [["--labeled", "-1"], /--labeled <n>' argument '-1'.*whole number of at least 1/],
    [["--labeled", "0"], /whole number of at least 1/],
    [["--labeled", "4"], /from 1 to 3 .*not 4/],
    [["--labeled", "3"], /sss needs unlabelled patients, but all 3/],
    [["--size", "100"], /--size <px>' argument '100'.*multiple of 32/],
    [["--size", "0"], /--size/],
    [["--size", "-32"], /--size/],
    [["--model", "xl"], /--model.*one of nano, t, s, b\+, l/],
    [["--method", "magic"], /--method.*one of sss, supervised, fixmatch/],
    [["--spacing", "1,1"], /--spacing.*three lengths in mm/],
    [["--spacing", "1,1,0"], /--spacing.*three lengths in mm/],
    [["--lr", "-1"], /--lr/],
    [["--stpes", "3"], /Unknown option '--stpes'.*--steps/],
    [["--data", "DIR/none"], /DIR\/none: it does not exist/],
    [["stray"], /oo many arguments/],
    [["--resume", "DIR/x"], /--out cannot go with it/],
  ];
  for (const [args, expected] of cases) match(await complaint(args), expected, args.join(" "));
});

Deno.test("runTraining() throws a sentence when the data are wrong", async () => {
  const slice = "data/slices/patient002_frame01_slice_1.h5";
  const whole = "data/patient005_frame01.h5";
  const image = new Float32Array(32 * 32), label = new Uint8Array(32 * 32);
  const narrow = { image: image.slice(32), label: label.slice(32) };
  const cases: [(data: string) => Promise<unknown>, RegExp][] = [
    [(data) => Deno.remove(`${data}/test.list`), /data\/test\.list: it does not exist/],
    [
      (data) => Deno.remove(`${data}/${slice}`),
      /train_slices.list names patient002_frame01_slice_1/,
    ],
    [(data) => Deno.truncate(`${data}/${slice}`, 1000), /slice_1\.h5.*damaged/],
    [(data) => Deno.writeTextFile(`${data}/${whole}`, "text"), /frame01\.h5 is not an HDF5 file/],
    [
      (data) => writeHdf5(`${data}/${slice}`, { ...narrow, shape: [31, 32] }),
      /slice_1\.h5 has the shape \[31, 32\], but .*slice_0\.h5 of the same volume has \[32, 32\]/,
    ],
    [
      (data) => writeHdf5(`${data}/${whole}`, { image, label: label.fill(9), shape: [1, 32, 32] }),
      /frame01\.h5 has the value 9, but labels go from 0 to 3/,
    ],
  ];
  for (const [spoil, expected] of cases) {
    match(await complaint(["--labeled", "2"], spoil), expected);
  }
});

Deno.test("deno task train prints one sentence and ends with 1 when the input is bad", () =>
  inFolder(async (folder) => {
    await Deno.truncate(`${folder}/data/data/patient005_frame01.h5`, 1000);
    const cases: [string, string[], RegExp][] = [
      ["train", ["--size", "100"], /multiple of 32/],
      [
        "train",
        ["--data", `${folder}/none`],
        /^Cannot open the data folder .*: it does not exist\.$/,
      ],
      ["train", ["--data", `${folder}/data`], /patient005_frame01\.h5 is a damaged HDF5 file/],
      ["eval", [folder], /is no folder of a run/],
      ["predict", [folder, folder, "--out"], /argument missing/],
    ];
    for (const [command, args, expected] of cases) {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "train/launch.ts", `train/commands/${command}.ts`, ...args],
        cwd: new URL("../", import.meta.url),
      }).output();
      const text = new TextDecoder().decode(stderr).trimEnd();
      match(text, expected);
      deepEqual([code, text.split("\n").length, stdout.length], [1, 1, 0], text);
    }
  }));

// ---- progress ----------------------------------------------------------------------------------

function timed(rewrites: boolean) {
  const { terminal, written } = recorder(rewrites);
  let time = 0;
  const line = new ProgressLine(terminal, () => time);
  return { line, written, wait: (ms: number) => void (time += ms) };
}

Deno.test("ProgressLine rewrites one line when it is on a terminal", () => {
  const { line, written, wait } = timed(true);
  const clear = "\r\x1b[2K";
  line.update("step 1");
  line.update("step 2");
  wait(100);
  line.update("step 3 of a long text");
  line.say("note");
  line.update("step 4");
  line.update("step 5");
  line.keep();
  line[Symbol.dispose]();
  const shown = [`${clear}step 1`, `${clear}step 3 of a`, `${clear}note\n`];
  deepEqual(written, [...shown, `${clear}step 4`, `${clear}step 5`, "\n"]);
});

Deno.test("ProgressLine takes its line away when it is disposed", () => {
  const { line, written } = timed(true);
  line.update("step 1");
  line[Symbol.dispose]();
  deepEqual(written, ["\r\x1b[2Kstep 1", "\r\x1b[2K"]);
});

Deno.test("ProgressLine writes a line every ten seconds when it is on no terminal", () => {
  const { line, written, wait } = timed(false);
  line.update("reading");
  line.say("note");
  for (let step = 1; step <= 25; step++, wait(1000)) line.update(`step ${step}`);
  line.keep();
  line[Symbol.dispose]();
  deepEqual(written, ["note\n", "step 1\n", "step 11\n", "step 21\n", "step 25\n"]);
});

Deno.test("Pace leaves out the first step of a process when others are there", () => {
  const pace = new Pace();
  pace.add(60_000, 8);
  equal(pace.eta(2), "2m 00s");
  for (let i = 0; i < 3; i++) pace.add(2000, 8);
  equal(pace.imagesPerSecond, 4);
  equal(pace.eta(1900), "1h 03m");
  equal(pace.eta(6), "12s");
});
