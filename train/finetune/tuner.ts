/** Fine-tuning of SAM-2 on its own objective. */
import { gradients, type Precision, type Request, runtime, submit } from "../../engine/mod.ts";
import {
  AdamW,
  cosine,
  FlatParameters,
  GradientAccumulator,
  type GradScalerState,
  scalerState,
} from "../../engine/optim/mod.ts";
import type { Sam2 } from "../../model/sam2/sam2.ts";
import { DataError } from "../data/errors.ts";
import { Random } from "../data/random.ts";
import type { SegmentedSequence } from "../data/sequence.ts";
import { formOf, refill } from "../leaves.ts";
import { inTurn, type MicroBatch } from "../micro_batches.ts";
import { type MixedPrecision, mixedPrecision } from "../precision.ts";
import { OPTIMIZER } from "../run/published_weights.ts";
import { Sampler } from "../sampler.ts";
import type { SavedTrainer, StepReport } from "../trainer.ts";
import { type ClipLeaves, clipLoss, type ClipPlan } from "./clip.ts";
import { decays, freeze, layerScale, type PartName } from "./parts.ts";
import { clipLeaves, type ClipOptions, drawClip, drawPlan, frameCount } from "./sampling.ts";

/** Everything that decides a run beside the model and the data. */
export interface TuneOptions extends ClipOptions {
  readonly seed: number;
  readonly steps: number;
  readonly learningRate: number;
  /** Factor of the learning rate from one block of the trunk to the one before it. */
  readonly layerDecay: number;
  /** Decoupled weight decay. */
  readonly weightDecay: number;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  readonly frozen: readonly PartName[];
  /** Micro-batches of a step, each of `batch` clips; 1 where left out. */
  readonly accumulate?: number;
  /** Whether gradients compute values inside the model anew instead of keeping them. */
  readonly gradientCheckpointing?: boolean;
  /** What is computed with, f32 where left out. */
  readonly precision?: Precision;
}

interface State {
  readonly position: number;
  /** In mixed precision. */
  readonly scaler?: GradScalerState;
  /** Updates of parameters that had no gradient at times. */
  readonly steps?: Readonly<Record<string, number>>;
}

/** Beginnings of the names of both moments in checkpoints. */
const [FIRST, SECOND] = [`${OPTIMIZER}first.`, `${OPTIMIZER}second.`];

/** Learning rate at the end, as a share of the first. */
const FINAL_RATE = 0.1;

/** Graphs that are kept: clips of several frames have many forms. */
const KEPT_GRAPHS = 8;

interface Recorded {
  readonly leaves: ClipLeaves;
  readonly names: readonly string[];
  readonly request: Request;
  readonly reached: readonly boolean[];
}

/** A model in fine-tuning. */
export class Tuner {
  private done = 0;
  private readonly graphs = new Map<string, Recorded>();
  private readonly sampler: Sampler;
  private readonly schedule: (step: number) => number;

  private constructor(
    private readonly model: Sam2,
    private readonly options: TuneOptions,
    private readonly sequences: readonly SegmentedSequence[],
    private readonly weights: FlatParameters,
    private readonly optimizer: AdamW,
    private readonly accumulator: GradientAccumulator,
    private readonly precision: MixedPrecision,
  ) {
    const { batch, seed, steps } = options;
    this.sampler = new Sampler(frameCount(sequences), batch, seed, "clips");
    this.schedule = cosine({ steps, final: FINAL_RATE });
  }

  /**
   * Puts the weights of a model into GPU memory: those that it holds, else random ones.
   *
   * @throws {DataError} where there are no frames.
   */
  static async create(
    model: Sam2,
    options: TuneOptions,
    sequences: readonly SegmentedSequence[],
  ): Promise<Tuner> {
    if (frameCount(sequences) === 0) throw new DataError("There are no frames to tune on.");
    freeze(model, options.frozen);
    if (options.gradientCheckpointing) model.useCheckpointing();
    const weights = await FlatParameters.create(model, { seed: options.seed });
    const blocks = model.config.trunk.stages.reduce((sum, count) => sum + count, 0);
    const scale = layerScale(blocks, options.layerDecay);
    const precision = await mixedPrecision(options.precision);
    const { scaler } = precision;
    const optimizer = await AdamW.create(weights, {
      ...scaler && { scaler },
      clipNorm: options.clip,
      rateScale: ({ key }) => scale(key),
      weightDecay: ({ parameter }) => decays(parameter) ? options.weightDecay : 0,
    });
    const accumulator = await GradientAccumulator.create(weights, options.accumulate ?? 1);
    return new Tuner(model, options, sequences, weights, optimizer, accumulator, precision);
  }

  /** Steps done. */
  get position(): number {
    return this.done;
  }

  /**
   * One optimiser step on the next clips.
   *
   * @returns the whole loss, as `loss`, and its terms before weighting.
   */
  async step(): Promise<StepReport> {
    const start = performance.now();
    const { count } = this.accumulator;
    const { losses, images, hostMs, scaler } = await inTurn(
      count,
      (i) => this.accumulate(this.done * count + i),
    );
    const learningRate = this.options.learningRate * this.schedule(this.done);
    this.optimizer.update(learningRate, this.accumulator.finish());
    this.done++;
    return {
      step: this.done,
      losses,
      images,
      learningRate,
      ...scaler && { scaler },
      milliseconds: { total: performance.now() - start, host: hostMs },
    };
  }

  /** Adds the gradients of a micro-batch, counted over all steps, to those of the step. */
  private async accumulate(index: number): Promise<MicroBatch> {
    const { plan, leaves } = await this.draw(index);
    const start = performance.now();
    const { request, names, reached } = this.graph(plan, leaves);
    const finish = await submit(request);
    this.accumulator.add(reached);
    const hostMs = performance.now() - start;
    const values = await finish();
    return {
      losses: Object.fromEntries(names.map((name, i) => [name, values[i][0]])),
      images: leaves.images.length * this.options.batch,
      hostMs,
      ...this.precision.scaler && { scaler: scalerState(values[names.length]) },
    };
  }

  /** Everything that a resumed run needs to go on bit by bit; the weights under official keys. */
  async save(): Promise<SavedTrainer> {
    const { first, second, scaler, steps } = await this.optimizer.state();
    const groups = [["", await this.weights.stateDict()], [FIRST, first], [
      SECOND,
      second,
    ]] as const;
    const tensors = groups.flatMap(([prefix, dict]) =>
      [...dict].map(([key, { shape, data }]) =>
        [prefix + key, { dtype: "F32", shape, data }] as const
      )
    );
    const state: State = {
      position: this.done,
      ...scaler && { scaler },
      ...steps && { steps },
    };
    return { tensors: new Map(tensors), state };
  }

  /** Takes over what {@link save} gave. */
  async load({ tensors, state }: SavedTrainer): Promise<void> {
    const group = (prefix: string) =>
      new Map(
        [...tensors].filter(([key]) => key.startsWith(prefix)).map(([key, { shape, data }]) =>
          [key.slice(prefix.length), { shape, data: data as Float32Array }] as const
        ),
      );
    const { position, scaler, steps } = state as State;
    const weights = [...group("")].filter(([key]) => !key.startsWith(OPTIMIZER));
    this.weights.write(new Map(weights));
    const moments = { first: group(FIRST), second: group(SECOND) };
    this.optimizer.load({
      step: position,
      ...moments,
      ...scaler && { scaler },
      ...steps && { steps },
    });
    this.done = position;
    await (await runtime()).device.gpu.queue.onSubmittedWorkDone();
  }

  /** Frees the GPU memory of the optimiser; the weights stay. */
  destroy(): void {
    this.accumulator.destroy();
    this.optimizer.destroy();
    this.precision.scaler?.destroy();
  }

  /** What micro-batch `index` sees: it follows from the seed alone. */
  private async draw(index: number): Promise<{ plan: ClipPlan; leaves: ClipLeaves }> {
    const { options, sequences } = this;
    const random = new Random(options.seed).fork("clip", index);
    const items = this.sampler.indices(index);
    const drawn = await Promise.all(
      items.map((item, i) => drawClip(random.fork(i), sequences, item, options)),
    );
    // Clips of a step share one graph, so a short one shortens all.
    const frames = Math.min(...drawn.map((clip) => clip.frames.length));
    const clips = drawn.map((clip) => ({ ...clip, frames: clip.frames.slice(0, frames) }));
    const plan = drawPlan(random, frames, options.clicks);
    return { plan, leaves: clipLeaves(random, clips, options) };
  }

  private graph(plan: ClipPlan, leaves: ClipLeaves): Recorded {
    const form = JSON.stringify([[...plan.prompts], plan.corrected]) + formOf(leaves);
    const known = this.graphs.get(form);
    if (known) refill(known.leaves, leaves);
    const graph = known ?? this.record(plan, leaves);
    // The least recently used one goes first.
    this.graphs.delete(form);
    this.graphs.set(form, graph);
    if (this.graphs.size > KEPT_GRAPHS) this.graphs.delete(this.graphs.keys().next().value!);
    return graph;
  }

  private record(plan: ClipPlan, leaves: ClipLeaves): Recorded {
    const { build, scaler } = this.precision;
    const { loss, terms } = build(() => clipLoss(this.model, leaves, plan));
    const grads = gradients(scaler?.scaled(loss) ?? loss, this.weights.trainable);
    return {
      leaves,
      names: ["loss", ...Object.keys(terms)],
      reached: grads.map((gradient) => gradient !== undefined),
      request: {
        read: [loss, ...Object.values(terms), ...scaler ? [scaler.state] : []],
        write: this.weights.gradientTargets(grads),
      },
    };
  }
}
