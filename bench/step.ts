/** Where the time of a training step goes. */
import {
  add,
  gradients,
  mean,
  runtime,
  square,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { AdamW, FlatParameters } from "../engine/optim/mod.ts";
import { sssConfig } from "../model/sss/config.ts";
import { CONFIGS } from "../model/config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { createPhantom } from "../train/data/phantom.ts";
import { Trainer, type TrainOptions } from "../train/trainer.ts";

/** One timed piece of work. */
export interface StepTiming {
  readonly name: string;
  /** Medians of the parts. */
  readonly milliseconds: Readonly<Record<string, number>>;
  readonly dispatches: number;
  /** Bytes of GPU buffers alive afterwards. */
  readonly arenaBytes: number;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1];

/** Waits until the adapter has done all that was submitted. */
async function settle(): Promise<void> {
  await (await runtime()).device.gpu.queue.onSubmittedWorkDone();
}

async function timed(repeats: number, work: () => Promise<unknown>): Promise<number> {
  await work();
  await settle();
  const samples: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const start = performance.now();
    await work();
    await settle();
    samples.push(performance.now() - start);
  }
  return median(samples);
}

/** The encoder of `nano` on four images: forward, backward, optimiser, and the host's share. */
async function encoderStep(repeats: number): Promise<StepTiming> {
  const rt = await runtime();
  const model = new Sam2(CONFIGS.nano);
  const flat = await FlatParameters.create(model);
  const optimizer = await AdamW.create(flat, { weightDecay: 0.01, clipNorm: 1 });
  const pixels = Float32Array.from({ length: 4 * 3 * 128 * 128 }, (_, i) => Math.sin(i * 0.37));
  const build = () => {
    const { levels } = model.image_encoder.forward(tensor(pixels, [4, 3, 128, 128]));
    return levels.map((level) => mean(square(level))).reduce(add);
  };
  const withGradients = () => {
    const loss = build();
    return { loss, grads: gradients(loss, flat.trainable) };
  };
  const forward = await timed(repeats, async () => (await submit({ read: [build()] }))());
  const before = rt.counters.dispatches;
  let host = 0;
  const both = await timed(repeats, async () => {
    const start = performance.now();
    const { loss, grads } = withGradients();
    host = performance.now() - start;
    await submit({ read: [loss], write: flat.gradientTargets(grads) });
  });
  const dispatches = (rt.counters.dispatches - before) / (repeats + 1);
  const { grads } = withGradients();
  const reached = grads.map((g: Tensor | undefined) => g !== undefined);
  const optimiser = await timed(repeats, () => Promise.resolve(optimizer.update(0, reached)));
  const milliseconds = { forward, backward: both - forward, optimiser, host };
  const arenaBytes = rt.counters.liveBytes;
  optimizer.destroy();
  flat.destroy();
  return { name: "encoder nano, 4 x 128 px", milliseconds, dispatches, arenaBytes };
}

/** A step of each method on the phantom, after the teacher has warmed up. */
async function methodStep(method: TrainOptions["method"], repeats: number): Promise<StepTiming> {
  const rt = await runtime();
  const data = createPhantom({ train: 4, labeled: 2, validation: 1, test: 1 });
  const trainer = await Trainer.create({
    method,
    model: "nano",
    size: 128,
    seed: 0,
    steps: 1000,
    batchLabelled: 4,
    batchUnlabelled: 4,
    learningRate: 1e-3,
    weightDecay: 0.01,
    clip: 1,
    sss: sssConfig({ teacherWarmup: 0 }),
  }, data);
  for (let i = 0; i < 3; i++) await trainer.step();
  const before = rt.counters.dispatches;
  const totals: number[] = [];
  const hosts: number[] = [];
  for (let i = 0; i < repeats; i++) {
    const { milliseconds: { total, host } } = await trainer.step();
    totals.push(total);
    hosts.push(host);
  }
  const milliseconds = { step: median(totals), host: median(hosts) };
  const dispatches = (rt.counters.dispatches - before) / repeats;
  return {
    name: `${method} step, nano`,
    milliseconds,
    dispatches,
    arenaBytes: rt.counters.liveBytes,
  };
}

/** Times the encoder's step and those of the three methods. */
export async function timeSteps(repeats: number): Promise<StepTiming[]> {
  const rows = [await encoderStep(repeats)];
  for (const method of ["supervised", "fixmatch", "sss"] as const) {
    rows.push(await methodStep(method, repeats));
  }
  return rows;
}
