import { matmul, read, relu, tensor } from "../engine/mod.ts";
import type { Trace } from "../engine/trace.ts";
import { StepProfiler } from "../train/run/profile.ts";
import type { CreateTrainer } from "../train/run/train_run.ts";
import type { StepReport } from "../train/trainer.ts";
import { FakeTrainer } from "./fake_trainer.ts";
import { inFolder, trainWith } from "./run_commands.ts";
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";

/** Its steps run kernels, more in every third one. */
class SmallTrainer extends FakeTrainer {
  override async step(): Promise<StepReport> {
    const start = performance.now();
    const side = this.position % 3 === 2 ? 48 : 32;
    const x = tensor(new Float32Array(side * side).fill(0.1), [side, side]);
    await read(side === 48 ? relu(matmul(matmul(x, x), x)) : matmul(x, x));
    const report = await super.step();
    return { ...report, milliseconds: { total: performance.now() - start, host: 1 } };
  }
}

const small: CreateTrainer = (options, data) => Promise.resolve(new SmallTrainer(options, data));

const trace = async (path: string): Promise<Trace> => JSON.parse(await Deno.readTextFile(path));

interface Step {
  readonly step: number;
  readonly ms: number;
  readonly kernels: number;
  readonly compiled: number;
}

Deno.test("--profile writes a trace of a step beside the time of a normal one", () =>
  inFolder(async (folder) => {
    const file = `${folder}/traces/step.json`;
    const args = ["--data", `${folder}/data`, "--steps", "12", "--out", `${folder}/run`];
    const { code, progress } = await trainWith([...args, "--profile", file], small);
    equal(code, 0);
    const { traceEvents, metadata } = await trace(file);
    const [profiled, normal] = [metadata.profiled_step, metadata.normal_step] as Step[];
    equal(profiled.compiled, 0);
    equal(normal.compiled, 0);
    equal(profiled.kernels, normal.kernels);
    ok(profiled.step > normal.step && profiled.ms > 0 && normal.ms > 0);
    match(
      progress,
      /step\.json shows step \d+: \d+ ms with \d+ kernels; step \d+, untraced, took \d+ ms with \d+\./,
    );
    const spans = traceEvents.filter(({ ph }) => ph === "X");
    equal(spans[0].name, `step ${profiled.step}`);
    ok(spans.some(({ tid, name }) => tid === 2 && /kernels|matmul/.test(name)));
    deepEqual([...Deno.readDirSync(`${folder}/traces`)].map(({ name }) => name), ["step.json"]);
  }));

Deno.test("--profile takes the last step where none could be compared", () =>
  inFolder(async (folder) => {
    const file = `${folder}/step.json`;
    const args = ["--data", `${folder}/data`, "--steps", "1", "--out", `${folder}/run`];
    const { progress } = await trainWith([...args, "--profile", file], small);
    equal((await trace(file)).metadata.normal_step, null);
    match(progress, /no step before it ran untraced without compiling/);
  }));

Deno.test("--profile changes nothing that a run computes", () =>
  inFolder(async (folder) => {
    const log = async (name: string, more: string[]) => {
      const args = ["--data", `${folder}/data`, "--steps", "5", "--out", `${folder}/${name}`];
      await trainWith([...args, ...more], small);
      const lines = (await Deno.readTextFile(`${folder}/${name}/metrics.jsonl`)).trim().split("\n");
      return lines.map((line) => ({ ...JSON.parse(line), milliseconds: 0 }));
    };
    deepEqual(await log("traced", ["--profile", `${folder}/step.json`]), await log("plain", []));
  }));

Deno.test("StepProfiler.create() names a folder that cannot be made", () =>
  inFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/file`, "");
    await rejects(StepProfiler.create(`${folder}/file/step.json`), {
      userFacing: true,
      message: /file/,
    });
  }));
