import {
  dispose,
  evaluate,
  forgetPlans,
  matmul,
  MemoryError,
  mul,
  read,
  relu,
  reserve,
  runtime,
  submit,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { heavyRules } from "../engine/primitives.ts";
import { readSafetensors } from "../engine/safetensors.ts";
import type { Kernel, Lowering } from "../shaders/kernel.ts";
import { parseTrainFlags } from "../train/run/options.ts";
import { type CreateTrainer, runTraining } from "../train/run/train_run.ts";
import { Trainer } from "../train/trainer.ts";
import { inFolder, quietly } from "./run_commands.ts";
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";

type Lower = (...args: unknown[]) => Lowering;

/** Makes kernels of matmul that the adapter refuses, until the returned function is called. */
function breakMatmul(damage: (kernel: Kernel) => Partial<Kernel>): () => void {
  const rule = heavyRules.matmul as unknown as { lower: Lower };
  const { lower } = rule;
  rule.lower = (...args) => {
    const lowering = lower(...args);
    const steps = lowering.steps.map((step) => ({
      ...step,
      kernel: { ...step.kernel, ...damage(step.kernel) },
    }));
    return { ...lowering, steps };
  };
  return () => void (rule.lower = lower);
}

const DAMAGES: readonly (readonly [what: string, (kernel: Kernel) => Partial<Kernel>, RegExp])[] = [
  [
    "is no WGSL",
    ({ source }) => ({ source: `${source}\nfn broken( {` }),
    /^Error: The adapter refuses a kernel\. Shader 'matmul 1x9x5x7 .*' parsing error: expected/,
  ],
  [
    "has an unknown name in it",
    ({ source }) => ({
      source: source.replace("fn main(", "fn other(i: u32) -> u32 { return nowhere; }\nfn main("),
    }),
    /^Error: The adapter refuses a kernel\. .*'matmul 1x9x5x7 .*nowhere/s,
  ],
  [
    "asks for too many workgroups",
    () => ({ grid: [70_000, 1, 1] }),
    /^Error: The adapter refuses a kernel\. matmul 1x9x5x7 .*: In a dispatch command.*70000/,
  ],
];

const product = (k: number): Tensor =>
  matmul(tensor(new Float32Array(9 * k), [9, k]), tensor(new Float32Array(7 * k), [k, 7]));

for (const [what, damage, message] of DAMAGES) {
  Deno.test(`submit() names op and shape when a kernel ${what}, and the device goes on`, async () => {
    const { counters } = await runtime();
    await read(sum(product(5)));
    await forgetPlans();
    const before = counters.liveBytes;
    const kept = relu(product(5));
    const mend = breakMatmul(damage);
    try {
      await rejects(read(product(5)), message);
      await rejects(evaluate([kept]), message);
    } finally {
      mend();
    }
    equal(kept.storage, undefined);
    equal(counters.liveBytes, before, "what was made for the plan is freed");
    deepEqual(await read(product(5)), new Float32Array(9 * 7));
    await evaluate([kept]);
    ok(kept.storage);
    equal((await runtime()).failure, undefined);
  });
}

/** Answers the next `popErrorScope` for memory as an adapter does that has none left. */
async function withoutMemory(work: () => Promise<unknown>): Promise<void> {
  const { gpu } = (await runtime()).device;
  const pop = gpu.popErrorScope.bind(gpu);
  let answered = false;
  gpu.popErrorScope = async () => {
    const error = await pop();
    if (answered) return error;
    answered = true;
    return new GPUOutOfMemoryError("Not enough memory left");
  };
  try {
    await work();
  } finally {
    Reflect.deleteProperty(gpu, "popErrorScope");
  }
}

Deno.test("submit() names the largest value and its size when the adapter has no memory left", () =>
  withoutMemory(async () => {
    await rejects(read(sum(mul(product(5), product(5)))), (error) => {
      ok(error instanceof MemoryError);
      match(
        error.message,
        /^The adapter has no memory left for work that needs .* with .* among it: Not enough memory left\.$/,
      );
      match(error.message, /(matmul|sum|map|mul) \[/);
      return true;
    });
  }));

Deno.test("evaluate() may run out of memory for results on a plan that has run before", async () => {
  const results = () => [mul(product(6), 3)];
  const first = results();
  await evaluate(first);
  const { counters } = await runtime();
  const before = counters.liveBytes;
  await withoutMemory(() => rejects(evaluate(results()), MemoryError));
  ok(counters.liveBytes <= before);
  const again = results();
  await evaluate(again);
  deepEqual(await read(again[0]), await read(first[0]));
  await dispose([...first, ...again]);
});

/** A real trainer that something happens to before a step. */
const beforeStep = (at: number, happens: () => unknown): CreateTrainer => async (options, data) => {
  const trainer = await Trainer.create(options, data);
  const step = trainer.step.bind(trainer);
  trainer.step = async () => {
    if (trainer.position + 1 === at) await happens();
    return step();
  };
  return trainer;
};

async function stepOf(run: string): Promise<number> {
  const { metadata } = await readSafetensors(`${run}/last.safetensors`);
  return JSON.parse(metadata.run).step;
}

/** Runs a training that fails; returns what it says. */
async function failing(args: string[], create: CreateTrainer, error: RegExp): Promise<string> {
  const { progress } = await quietly(async (terminal) => {
    await rejects(runTraining(parseTrainFlags(args)!, create, terminal), error);
    return 1;
  });
  return progress;
}

Deno.test("submit() names op and shape when it runs what was planned ahead, not before", async () => {
  const mend = breakMatmul(DAMAGES[0][1]);
  const broken = sum(product(11));
  try {
    await reserve({ read: [broken] });
    equal((await read(relu(tensor(Float32Array.of(-1, 3.5)))))[1], 3.5);
    await rejects(read(broken), /^Error: The adapter refuses a kernel\. Shader 'matmul 1x9x11x7 /);
  } finally {
    mend();
    await forgetPlans();
  }
  equal((await runtime()).failure, undefined);
});

Deno.test("train saves the steps before one that fails, and keeps them when the device is lost", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`;
    const data = ["--data", `${folder}/data`, "--labeled", "1", "--method", "supervised"];
    const small = ["--size", "32", "--batch", "1", "--steps", "4", "--val-every", "0"];
    let mend = () => {};
    const refused = beforeStep(3, async () => {
      await forgetPlans();
      mend = breakMatmul(() => ({ grid: [70_000, 1, 1] }));
    });
    try {
      match(
        await failing([...data, ...small, "--out", run], refused, /refuses a kernel\. matmul \d+x/),
        /Step 3 failed; step 2 is saved, go on with: deno task train --resume .*run\n/,
      );
    } finally {
      mend();
    }
    equal(await stepOf(run), 2);

    const { gpu } = (await runtime()).device;
    const lost = /UserError: The GPU device ".*" was lost: /;
    const resumed = ["--resume", run, "--checkpoint-every", "1"];
    match(
      await failing(resumed, beforeStep(4, () => gpu.destroy()), lost),
      /Step 4 failed; step 3 is saved, go on with: deno task train --resume .*run\n/,
    );
    equal(await stepOf(run), 3);
    await rejects(submit({ read: [tensor([1])] }), lost);
  }));
