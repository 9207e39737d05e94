/** Training of SSS and its baselines: one loop, so that only the unlabelled half differs. */
import { type Precision, runtime, tensor } from "../engine/mod.ts";
import {
  AdamW,
  cosine,
  Ema,
  emaDecay,
  FlatParameters,
  GradientAccumulator,
  type GradScalerState,
} from "../engine/optim/mod.ts";
import type { StoredTensor } from "../engine/safetensors.ts";
import { CONFIGS, type Sam2Config } from "../model/config.ts";
import type { SssConfig } from "../model/sss/config.ts";
import { labellingFor } from "../model/sss/gpu_labelling.ts";
import { SssModel } from "../model/sss/sss_model.ts";
import type { DataSet, LabelledVolume, Volume } from "./data/dataset.ts";
import { Random } from "./data/random.ts";
import { freeze, type PartName } from "./finetune/parts.ts";
import { type InferenceParts, type Prediction, segmentVolume } from "./inference.ts";
import { MemoryBanks, type MemorySizes } from "./memory_banks.ts";
import { inTurn, type MicroBatch } from "./micro_batches.ts";
import { mixedPrecision } from "./precision.ts";
import { poolSlices } from "./slices.ts";
import { type BatchLeaves, DRAWS, StepBatches } from "./step_batches.ts";
import type { BankLeaves } from "./step_graph.ts";
import { StepProgram, type StepValues } from "./step_program.ts";

/** How unlabelled images are used. */
export type Method = "sss" | "supervised" | "fixmatch";

/** Everything that decides a training run beside the data. */
export interface TrainOptions {
  readonly method: Method;
  readonly model: "nano" | "t" | "s" | "b+" | "l";
  /** Version of SAM 2 that the model is of, 2.1 where left out. */
  readonly samVersion?: "2.0";
  /** Side of the model's input in pixels, a multiple of 32. */
  readonly size: number;
  readonly seed: number;
  readonly steps: number;
  /** Slices of a micro-batch. */
  readonly batchLabelled: number;
  readonly batchUnlabelled: number;
  /** Micro-batches of a step; 1 where left out. */
  readonly accumulate?: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  /** Largest global norm of the gradients. */
  readonly clip: number;
  readonly sss: SssConfig;
  /** Parts of SAM-2 that keep their weights. */
  readonly frozen?: readonly PartName[];
  /** Whether gradients compute values inside the model anew instead of keeping them. */
  readonly gradientCheckpointing?: boolean;
  /** What is trained with, f32 where left out. */
  readonly precision?: Precision;
  /** The checkpoint that the run started from; random weights where left out. */
  readonly start?: string;
}

/** One optimiser step. */
export interface StepReport {
  /** Steps done. */
  readonly step: number;
  readonly losses: Record<string, number>;
  /** Images that passed an encoder. */
  readonly images: number;
  readonly learningRate: number;
  /** The loss scale before the step, in mixed precision. */
  readonly scaler?: GradScalerState;
  /** `host`: drawing inputs, submitting the step's graph and keeping memories, without any waiting. */
  readonly milliseconds: { readonly total: number; readonly host: number };
}

/** A trainer as it is saved: arrays by name, and the rest as JSON. */
export interface SavedTrainer {
  readonly tensors: Map<string, StoredTensor>;
  readonly state: unknown;
}

/** Share of the steps in which labelled images attend to memories. */
const MEMORY_SHARE = 0.5;

/** Share of the run in which the learning rate rises. */
const WARMUP = 0.05;

/** Learning rate at the end, as a share of the first. */
const FINAL_RATE = 0.05;

/** Steps, as a share of the run, over which the teacher averages at most: short runs need a short memory. */
const AVERAGED_SHARE = 0.05;

function modelConfig({ model, samVersion, size }: TrainOptions): Sam2Config {
  const family = samVersion === "2.0" ? "sam2" : "sam2.1";
  const base: Sam2Config = model === "nano" ? CONFIGS.nano : CONFIGS[`${family}_hiera_${model}`];
  return { ...base, imageSize: size };
}

interface State {
  readonly position: number;
  readonly bankCounts: number[];
  readonly pseudo: unknown;
  /** In mixed precision. */
  readonly scaler?: GradScalerState;
  /** Updates of parameters that had no gradient at times. */
  readonly steps?: Readonly<Record<string, number>>;
}

/** A model in training, with its teacher, optimiser, memory and pseudo-labels. */
export class Trainer {
  private done = 0;
  private readonly banks: MemoryBanks;
  private readonly schedule: (step: number) => number;

  private constructor(
    private readonly options: TrainOptions,
    private readonly student: SssModel,
    private readonly teacher: SssModel,
    private readonly weights: FlatParameters,
    private readonly optimizer: AdamW,
    private readonly accumulator: GradientAccumulator,
    private readonly ema: Ema,
    private readonly batches: StepBatches,
    private readonly program: StepProgram,
  ) {
    this.banks = this.makeBanks();
    const { steps } = options;
    const warmup = Math.round(WARMUP * steps);
    this.schedule = cosine({ steps, warmup, final: FINAL_RATE });
  }

  /**
   * Reads the training slices and makes a model at step 0.
   *
   * @param start gives the model its first weights; they are random where left out.
   * @throws {MemoryError} where the memory does not suffice for the run's steps.
   */
  static async create(
    options: TrainOptions,
    data: DataSet,
    start?: (model: SssModel) => Promise<void>,
  ): Promise<Trainer> {
    const config = modelConfig(options);
    const student = new SssModel(config, data.classes.length);
    const teacher = new SssModel(config, data.classes.length);
    await start?.(student);
    freeze(student, options.frozen ?? []);
    if (options.gradientCheckpointing) student.useCheckpointing();
    const weights = await FlatParameters.create(student, { seed: options.seed });
    const { weightDecay, clip, method, sss } = options;
    const precision = await mixedPrecision(options.precision);
    const { scaler } = precision;
    const optimizer = await AdamW.create(weights, {
      ...{ weightDecay, clipNorm: clip },
      ...scaler && { scaler },
    });
    // Without labelled slices it only predicts.
    const trains = data.labelled.length > 0;
    const count = trains ? options.accumulate ?? 1 : 1;
    const accumulator = await GradientAccumulator.create(weights, count);
    const ema = await Ema.create(weights);
    ema.bind(teacher);
    const labelled = await poolSlices(data.labelled, options.size);
    const unlabelled = method === "supervised"
      ? { images: [], labels: [], volumes: [] }
      : await poolSlices(data.unlabelled, options.size);
    const label = labellingFor((await runtime()).device.profile);
    const trainer = new Trainer(
      options,
      student,
      teacher,
      weights,
      optimizer,
      accumulator,
      ema,
      new StepBatches(options, teacher, labelled, unlabelled, label),
      new StepProgram({ student, teacher, config: sss, method }, weights, precision),
    );
    if (trains) await trainer.reserve();
    return trainer;
  }

  /** Steps done. */
  get position(): number {
    return this.done;
  }

  /**
   * One optimiser step on the next micro-batches. All of them see the memory banks as the step before
   * has left them.
   */
  async step(): Promise<StepReport> {
    const start = performance.now();
    const step = this.done;
    const batches = await this.batches.of(step);
    const left: StepValues[] = [];
    const { losses, images, hostMs, scaler } = await inTurn(batches.length, async (i) => {
      const { values, ...report } = await this.accumulate(step, batches[i]);
      left.push(values);
      return report;
    });
    const learningRate = this.options.learningRate * this.schedule(step);
    this.optimizer.update(learningRate, this.accumulator.finish());
    this.ema.update(this.decay(step));
    const read = performance.now();
    for (const { memories, embeddings, ious } of left) this.banks.offer(memories, embeddings, ious);
    const host = hostMs + performance.now() - read;
    this.done = step + 1;
    const milliseconds = { total: performance.now() - start, host };
    return { step: this.done, losses, images, learningRate, ...scaler && { scaler }, milliseconds };
  }

  /** Adds the gradients of a micro-batch to those of the step. */
  private async accumulate(
    step: number,
    draw: () => BatchLeaves,
  ): Promise<MicroBatch & { values: StepValues }> {
    const start = performance.now();
    const banks = this.remembers(step) ? this.bankLeaves() : undefined;
    const leaves = { ...draw(), banks };
    const { finish, reached } = await this.program.run(leaves);
    this.accumulator.add(reached);
    const hostMs = performance.now() - start;
    const values = await finish();
    const { batchLabelled, batchUnlabelled } = this.options;
    const images = batchLabelled + (leaves.unlabelled ? 3 * batchUnlabelled : 0);
    const { losses, scaler } = values;
    return { losses, images, hostMs, ...scaler && { scaler }, values };
  }

  private decay(step: number): number {
    const { sss, steps } = this.options;
    const limit = Math.max(0, 1 - 1 / (AVERAGED_SHARE * steps));
    return emaDecay(step, Math.min(sss.emaDecay, limit));
  }

  /** Makes room for the steps that need the most memory. */
  private async reserve(): Promise<void> {
    await this.program.reserve({ ...this.batches.largest(), banks: this.bankLeaves() });
  }

  /** Half of the steps go without memories, as the first slice of every test volume has to. */
  private remembers(step: number): boolean {
    const { seed } = this.options;
    return this.banks.ready && new Random(seed).fork("memory", step).uniform() < MEMORY_SHARE;
  }

  private memorySizes(): MemorySizes {
    const { imageSize, dModel, memDim } = this.student.config;
    const cells = (imageSize / 16) ** 2;
    const { memoryBankSize, memoryBankIouSlack } = this.options.sss;
    return {
      classes: this.student.classes,
      size: memoryBankSize,
      iouSlack: memoryBankIouSlack,
      memory: memDim * cells,
      embedding: dModel * cells,
    };
  }

  private makeBanks(): MemoryBanks {
    return new MemoryBanks(this.memorySizes());
  }

  private bankLeaves(): BankLeaves {
    const { classes, size, embedding } = this.memorySizes();
    const { memories, embeddings, filled } = this.banks.arrays();
    const { memDim } = this.student.config;
    return {
      memories: tensor(memories, [
        classes,
        size,
        memDim,
        memories.length / classes / size / memDim,
      ]),
      embeddings: tensor(embeddings, [classes, size, embedding]),
      filled: tensor(filled, [classes, size]),
    };
  }

  /**
   * Segments a volume with the averaged weights.
   *
   * @param prompts `pcsw` reads no label; `oracle` takes boxes of the volume's own label.
   * @param precision whatever was trained with.
   */
  predict(
    volume: Volume | LabelledVolume,
    prompts: "pcsw" | "oracle",
    precision: Precision = "f32",
  ): Promise<Prediction> {
    const parts: InferenceParts = {
      precision,
      model: this.teacher,
      config: this.options.sss,
      size: this.options.size,
      draws: DRAWS,
      label: this.batches.label,
      makeBanks: () => this.makeBanks(),
    };
    return segmentVolume(parts, volume, prompts);
  }

  /** Everything that a resumed run needs to go on bit by bit. */
  async save(): Promise<SavedTrainer> {
    const tensors = new Map<string, StoredTensor>();
    const put = (name: string, data: StoredTensor["data"], shape: readonly number[]) =>
      tensors.set(name, { dtype: data instanceof Uint8Array ? "U8" : "F32", shape, data });
    const { first, second, scaler, steps } = await this.optimizer.state();
    const model = await this.weights.stateDict();
    const groups = { model, ema: await this.ema.stateDict(), first, second };
    for (const [group, dict] of Object.entries(groups)) {
      for (const [key, { shape, data }] of dict) put(`${group}.${key}`, data, shape);
    }
    const { counts, memories, embeddings, ious } = this.banks.save();
    put("bank.memories", memories, [memories.length]);
    put("bank.embeddings", embeddings, [embeddings.length]);
    put("bank.ious", ious, [ious.length]);
    const { bits, entries } = this.batches.pseudo.save();
    put("pcsw.masks", bits, [bits.length]);
    const state: State = {
      ...{ position: this.done, bankCounts: counts, pseudo: entries },
      ...scaler && { scaler },
      ...steps && { steps },
    };
    return { tensors, state };
  }

  /** Takes over what {@link save} gave. */
  async load({ tensors, state }: SavedTrainer): Promise<void> {
    const group = (name: string) =>
      new Map(
        [...tensors].filter(([key]) => key.startsWith(`${name}.`)).map(([key, { shape, data }]) => [
          key.slice(name.length + 1),
          { shape, data: data as Float32Array },
        ]),
      );
    const floats = (name: string) => tensors.get(name)!.data as Float32Array;
    const { position, bankCounts, pseudo, scaler, steps } = state as State;
    this.weights.write(group("model"));
    this.ema.load(group("ema"));
    const moments = { first: group("first"), second: group("second") };
    this.optimizer.load({
      step: position,
      ...moments,
      ...scaler && { scaler },
      ...steps && { steps },
    });
    this.banks.load({
      counts: bankCounts,
      memories: floats("bank.memories"),
      embeddings: floats("bank.embeddings"),
      ious: floats("bank.ious"),
    });
    const bits = tensors.get("pcsw.masks")!.data as Uint8Array;
    this.batches.pseudo.load({ bits, entries: pseudo }, this.student.classes);
    this.done = position;
    await (await runtime()).device.gpu.queue.onSubmittedWorkDone();
  }
}
