/** `bench step`: where the time of a training step goes. */
import { gradients, type Runtime, runtime, submit } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { AdamW, Ema, FlatParameters } from "../engine/optim/mod.ts";
import { sssConfig } from "../model/sss/config.ts";
import { createPhantom } from "../train/data/phantom.ts";
import { type Method, Trainer } from "../train/trainer.ts";
import { median, type Sample, stopwatch, submitted, type Timed, timeInRounds } from "./clock.ts";
import { takeInventory } from "./inventory.ts";
import { type Peaks, peakWorks } from "./peak.ts";
import { type Row, timedRow } from "./report.ts";
import { buildStep, stepModels, type StepOptions, stepResults } from "./steps.ts";
import { perRun, type Seen, Watch } from "./watch.ts";

/** What to measure. */
export interface StepBenchOptions {
  /** Side of the images in pixels. */
  readonly size: number;
  /** Labelled images. */
  readonly batch: number;
  /** Unlabelled images, where the method uses them. */
  readonly unlabelledBatch: number;
  readonly rounds: number;
}

/** Steps before the timed ones: with and without memories, and the first searches for prompts. */
const WARMUP = 4;
/** Steps whose dispatches, submits and new buffers are counted. */
const COUNTED = 2;

/** A trainer on the phantom whose teacher is followed from the start. */
async function makeTrainer(
  method: Method,
  { size, batch, unlabelledBatch }: StepBenchOptions,
): Promise<Trainer> {
  const data = createPhantom({ size, train: 4, labeled: 2, validation: 1, test: 1 });
  return await Trainer.create({
    method,
    model: "nano",
    size,
    seed: 0,
    steps: 1000,
    batchLabelled: batch,
    batchUnlabelled: method === "supervised" ? 0 : unlabelledBatch,
    learningRate: 1e-3,
    weightDecay: 0.01,
    clip: 1,
    sss: sssConfig({ teacherWarmup: 0 }),
  }, data);
}

/** Pieces of a step that run by themselves, on a model of their own. */
interface Pieces {
  readonly forward: Timed;
  readonly both: Timed;
  readonly optimiser: Timed;
  readonly flops: { readonly forward: number; readonly both: number };
  readonly kernels: number;
  readonly free: () => void;
}

async function makePieces(rt: Runtime, options: StepOptions): Promise<Pieces> {
  const models = stepModels(options);
  const [student, teacher] = models;
  const weights = await FlatParameters.create(student);
  const optimizer = await AdamW.create(weights, { weightDecay: 0.01, clipNorm: 1 });
  const ema = await Ema.create(weights);
  ema.bind(teacher);
  let step = 0;
  const build = () => {
    const graph = buildStep(models, options, step++);
    const grads = gradients(graph.loss, weights.trainable);
    const updates = [...graph.training.updates].map(([p, value]) => [value, p.storage!] as const);
    return { graph, grads, write: [...weights.gradientTargets(grads), ...updates] };
  };
  const { graph, grads, write } = build();
  const reached = grads.map((g) => g !== undefined);
  const profile = await activeProfile();
  const results = stepResults(graph);
  const take = (backward: typeof results) =>
    takeInventory({ name: "step", forward: results, backward }, profile, rt.device.offsetAlignment);
  const whole = take(write.map(([t]) => t));
  return {
    forward: submitted(async () => {
      const read = stepResults(buildStep(models, options, step++));
      await (await submit({ read }))();
    }),
    both: submitted(async () => {
      const { graph, write } = build();
      await (await submit({ read: stepResults(graph), write }))();
    }),
    optimiser: submitted(() => {
      optimizer.update(0, reached);
      ema.update(0.99);
    }),
    flops: { forward: take([]).flops, both: whole.flops },
    kernels: whole.kernels,
    free: () => {
      ema.destroy();
      optimizer.destroy();
      weights.destroy();
    },
  };
}

const minus = (a: Sample, b: Sample): Sample => ({ ms: a.ms - b.ms, cpuMs: a.cpuMs - b.cpuMs });

/** A row of the step's table without details. */
function rowOf(base: Pick<Row, "name" | "shape">, pass: string, time: Sample): Row {
  return timedRow({ group: "step", ...base, pass }, time);
}

function withRate(row: Row, flops: number, peaks: Peaks): Row {
  const gflops = flops / row.ms / 1e6;
  return { ...row, gflops, share: gflops / peaks.gflops };
}

/** The trainer's own steps: the first one, and what later ones ask of the device. */
interface RealStep {
  readonly first: Sample;
  readonly work: Timed;
  /** Milliseconds that each run of `work` kept the adapter waiting. */
  readonly hostMs: readonly number[];
  readonly counts: ReturnType<typeof perRun>;
  readonly seen: Seen;
}

async function realStep(method: Method, options: StepBenchOptions): Promise<RealStep> {
  const watch = new Watch(await runtime());
  const trainer = await makeTrainer(method, options);
  const first = await stopwatch(() => trainer.step());
  for (let i = 1; i < WARMUP; i++) await trainer.step();
  const warm = watch.seen;
  for (let i = 0; i < COUNTED; i++) await trainer.step();
  const { seen } = watch;
  watch.stop();
  const hostMs: number[] = [];
  return {
    first,
    work: submitted(async () => {
      const { milliseconds } = await trainer.step();
      hostMs.push(milliseconds.host);
    }),
    hostMs,
    counts: perRun(warm, seen, COUNTED),
    seen,
  };
}

/**
 * Measures the steps of one method: the trainer's own, and its pieces on a graph of the same kind.
 * For exact bytes and first steps nothing else may have run in the process.
 */
export async function benchStep(
  method: Method,
  options: StepBenchOptions,
): Promise<{ rows: Row[]; peaks: Peaks }> {
  const { size, batch, unlabelledBatch, rounds } = options;
  const rt = await runtime();
  const real = await realStep(method, options);
  const peak = peakWorks(rt, await activeProfile());
  const timings = await timeInRounds([...peak.works, real.work], { rounds });
  const pieces = await makePieces(rt, { method, size, batch, unlabelledBatch, classes: 3 });
  const { forward, both, optimiser } = pieces;
  const split = await timeInRounds([forward, both, optimiser], { rounds });
  pieces.free();
  peak.destroy();
  if (rt.failure) throw rt.failure;
  const peaks = peak.peaks(timings.slice(0, 2).map((t) => t.steady));
  const { steady } = timings[2];
  const [ahead, whole, update] = split.map((t) => t.steady);
  const images = method === "supervised" ? `${batch}` : `${batch} + ${unlabelledBatch}`;
  const base = { name: `nano ${method}`, shape: `${images} images of ${size} px` };
  const host = median(real.hostMs);
  const step = withRate(rowOf(base, "step", steady), pieces.flops.both, peaks);
  const behind = withRate(
    rowOf(base, "backward", minus(whole, ahead)),
    pieces.flops.both - pieces.flops.forward,
    peaks,
  );
  const rows: Row[] = [
    {
      ...step,
      details: {
        ...real.counts,
        peak_gpu_bytes: real.seen.peakBytes,
        kernels: real.seen.pipelines,
        kernels_of_graph: pieces.kernels,
        host_ms: host,
        host_share: host / steady.ms,
        first_over_steady_ms: real.first.ms - steady.ms,
      },
    },
    withRate(rowOf(base, "forward", ahead), pieces.flops.forward, peaks),
    behind,
    rowOf(base, "optimiser", update),
    rowOf(base, "host", { ms: host, cpuMs: host }),
    rowOf(base, "first step", real.first),
  ];
  return { rows, peaks };
}
