/** AdamW on flat parameters, with gradients clipped by their common norm. */
import {
  ADAMW_BLOCK,
  ADAMW_SEGMENT,
  adamwHyper,
  correctionTable,
  lowerAdamW,
  lowerAdamWSteps,
} from "../../shaders/adamw.ts";
import { lowerGradScaler } from "../../shaders/grad_scaler.ts";
import { lowerSumSquares } from "../../shaders/reduce_squares.ts";
import { activeProfile, runtime } from "../evaluate.ts";
import type { AdapterProfile } from "../device.ts";
import type { StateTensor } from "../nn/state_dict.ts";
import type { Runtime } from "../runtime.ts";
import { leaf, type Tensor } from "../tensor.ts";
import { readFloats, writeFloats } from "./flat_buffer.ts";
import type { GradScaler, GradScalerState } from "./grad_scaler.ts";
import type { FlatParameters, Segment } from "./flat_parameters.ts";
import { type BufferWindow, flatWindows, RecordedPass, submitCommands } from "./recorded_pass.ts";

/** Options of {@link AdamW.create}. */
export interface AdamWOptions {
  /** Decay of the first and second moments, 0.9 and 0.999 where left out. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment, 1e-8 where left out. */
  readonly eps?: number;
  /** Decoupled weight decay, for all parameters or by key and shape. */
  readonly weightDecay?: number | ((segment: Segment) => number);
  /** Factor of the learning rate by key, 1 where left out. */
  readonly rateScale?: (segment: Segment) => number;
  /** Largest 2-norm of all gradients together; 0 for no limit. */
  readonly clipNorm?: number;
  /** What the loss is multiplied with; each optimiser has one of its own. */
  readonly scaler?: GradScaler;
  /** Bytes that one dispatch covers at most; the adapter's largest binding where left out. */
  readonly windowBytes?: number;
}

/** What is saved of an optimiser: host copies by key. */
export interface AdamWState {
  /** Steps taken. */
  readonly step: number;
  /** Updates of the parameters that have had another number of them, without a gradient at times. */
  readonly steps?: Readonly<Record<string, number>>;
  /** The loss scale, where there is one. */
  readonly scaler?: GradScalerState;
  /** First moments: moving averages of the gradients. */
  readonly first: ReadonlyMap<string, StateTensor>;
  /** Second moments: moving averages of the squared gradients. */
  readonly second: ReadonlyMap<string, StateTensor>;
}

interface Buffers {
  readonly first: GPUBuffer;
  readonly second: GPUBuffer;
  /** Segment of each block of elements, u32. */
  readonly blocks: GPUBuffer;
  /** Rate scale, weight decay and presence of each segment; then its updates and corrections. */
  readonly segments: GPUBuffer;
  readonly hyper: GPUBuffer;
  readonly maximum: GPUBuffer;
  /** Clipping factor, norm, and whether a scaler skips the update. */
  readonly clip: GPUBuffer;
  /** Corrections of the moments by updates. */
  readonly corrections: GPUBuffer;
}

const BETAS = [0.9, 0.999] as const;

/** Place in a row of the segment table. */
const PRESENT = ADAMW_SEGMENT - 1;

/**
 * The optimiser. It reads the flat gradients and changes the flat values in place; its dispatches are
 * recorded once and replayed, and what varies from step to step is data.
 */
export class AdamW {
  /**
   * [factor, norm] of the last step: what gradients were multiplied with, and their norm before; not of
   * the scaled ones, unless that is not finite.
   */
  readonly clipping: Tensor;
  private readonly betas: readonly [number, number];
  private readonly scaler: GradScaler | undefined;
  private readonly eps: number;
  private readonly table: Float32Array<ArrayBuffer>;
  private taken = 0;

  private constructor(
    private readonly runtime: Runtime,
    private readonly flat: FlatParameters,
    private readonly buffers: Buffers,
    private readonly pass: RecordedPass,
    options: AdamWOptions,
  ) {
    this.clipping = leaf({ buffer: buffers.clip, offset: 0 }, [2]);
    this.betas = options.betas ?? BETAS;
    this.scaler = options.scaler;
    this.eps = options.eps ?? 1e-8;
    const segments = flat.segments.slice(0, flat.trainableCount);
    const { weightDecay = 0.01, rateScale = () => 1 } = options;
    const decayOf = typeof weightDecay === "number" ? () => weightDecay : weightDecay;
    this.table = Float32Array.from(
      segments.flatMap((segment) => [rateScale(segment), decayOf(segment), 1]),
    );
  }

  /**
   * Allocates both moments and records the dispatches of a step.
   *
   * @throws {RangeError} where nothing is trainable, or a moment would not decay.
   */
  static async create(flat: FlatParameters, options: AdamWOptions = {}): Promise<AdamW> {
    const rt = await runtime();
    if (flat.trainableCount === 0) throw new RangeError("AdamW: no parameter is trainable.");
    const betas = options.betas ?? BETAS;
    if (!betas.every((beta) => beta >= 0 && beta < 1)) {
      throw new RangeError(`AdamW: betas of ${betas.join(" and ")} are not in [0, 1).`);
    }
    const blocks = blockTable(flat);
    const corrections = correctionTable(betas);
    const buffers: Buffers = {
      first: rt.createBuffer(flat.trainableLength * 4),
      second: rt.createBuffer(flat.trainableLength * 4),
      blocks: rt.createBuffer(blocks.byteLength),
      segments: rt.createBuffer(2 * flat.trainableCount * ADAMW_SEGMENT * 4),
      hyper: rt.createBuffer(24),
      maximum: rt.createBuffer(4),
      clip: rt.createBuffer(12),
      corrections: rt.createBuffer(corrections.byteLength),
    };
    rt.writeBuffer(buffers.corrections, 0, corrections);
    rt.writeBuffer(buffers.blocks, 0, blocks);
    rt.writeBuffer(buffers.maximum, 0, Float32Array.of(options.clipNorm ?? 0));
    const pass = new RecordedPass(rt);
    const profile = await activeProfile();
    recordStep(pass, flat, buffers, profile, options);
    const optimizer = new AdamW(rt, flat, buffers, pass, options);
    optimizer.uploadTable();
    return optimizer;
  }

  /** Number of updates so far, those that a scaler has skipped included. */
  get step(): number {
    return this.taken;
  }

  /**
   * Updates the parameters from the flat gradients.
   *
   * @param learningRate base rate of this step.
   * @param present whether each trainable parameter has a gradient in this step (all where left out).
   * Those without keep their values, moments and count of updates, and count nothing towards the norm.
   * @throws {RangeError} after `destroy()` of the optimiser, of its scaler or of the parameters.
   */
  update(learningRate: number, present?: readonly boolean[]): void {
    const { runtime, flat, buffers, betas: [beta1, beta2] } = this;
    this.pass.requireLive();
    const absent = this.notePresence(present);
    this.taken++;
    const hyper = { learningRate, beta1, beta2, eps: this.eps };
    runtime.writeBuffer(buffers.hyper, 0, adamwHyper(hyper));
    submitCommands(runtime, (encoder) => {
      // What they hold of another step, or of one that was given up, would count towards the norm.
      for (const { start, size } of absent) {
        encoder.clearBuffer(flat.gradients, start * 4, size * 4);
      }
      this.pass.encode(encoder);
    });
  }

  /** The norm of all gradients before clipping, of the last step. */
  async gradientNorm(): Promise<number> {
    return (await readFloats(this.runtime, this.buffers.clip, 1, 1))[0];
  }

  /** Host copies of everything that the next steps depend on. */
  async state(): Promise<AdamWState> {
    const segments = this.flat.segments.slice(0, this.flat.trainableCount);
    const scaler = await this.scaler?.read();
    const step = scaler?.taken ?? this.taken;
    const { length } = this.table;
    const counts = await readFloats(this.runtime, this.buffers.segments, length, length);
    const others = segments.map(({ key }, i) => [key, counts[i * ADAMW_SEGMENT]] as const)
      .filter(([, count]) => count !== step);
    return {
      step,
      ...others.length > 0 && { steps: Object.fromEntries(others) },
      ...scaler && { scaler },
      first: await this.flat.split(this.buffers.first, segments),
      second: await this.flat.split(this.buffers.second, segments),
    };
  }

  /** Continues from a saved state. @throws {RangeError} where a key or a size does not fit. */
  load({ step, steps = {}, scaler, first, second }: AdamWState): void {
    this.flat.write(first, this.buffers.first);
    this.flat.write(second, this.buffers.second);
    this.taken = step;
    const counts = new Float32Array(this.table.length);
    for (let i = 0; i < this.flat.trainableCount; i++) {
      counts[i * ADAMW_SEGMENT] = steps[this.flat.segments[i].key] ?? scaler?.taken ?? step;
    }
    writeFloats(this.runtime, this.buffers.segments, counts.length, counts);
    if (scaler) this.scaler?.load(scaler);
  }

  /** Frees the GPU memory. */
  destroy(): void {
    this.pass.destroy();
    for (const buffer of Object.values(this.buffers)) this.runtime.destroyBuffer(buffer);
  }

  /** Updates the segment table; returns the segments without a gradient. */
  private notePresence(present: readonly boolean[] | undefined): Segment[] {
    const { flat, table } = this;
    if (present && present.length !== flat.trainableCount) {
      throw new RangeError(
        `AdamW: ${present.length} flags for ${flat.trainableCount} parameters.`,
      );
    }
    const absent: Segment[] = [];
    let changed = false;
    for (let i = 0; i < flat.trainableCount; i++) {
      const here = present?.[i] ?? true;
      const at = i * ADAMW_SEGMENT + PRESENT;
      if (table[at] !== Number(here)) {
        table[at] = Number(here);
        changed = true;
      }
      if (!here) absent.push(flat.segments[i]);
    }
    if (changed) this.uploadTable();
    return absent;
  }

  /** Copies the host's rows of the table of segments to the GPU. */
  private uploadTable(): void {
    this.runtime.writeBuffer(this.buffers.segments, 0, this.table);
  }
}

/** The segment of each block; padding belongs to the segment before it and stays zero. */
function blockTable(flat: FlatParameters): Uint32Array<ArrayBuffer> {
  const blocks = new Uint32Array(flat.trainableLength / ADAMW_BLOCK);
  for (let i = 0; i < flat.trainableCount; i++) {
    blocks.fill(i, flat.segments[i].start / ADAMW_BLOCK);
  }
  return blocks;
}

function recordStep(
  pass: RecordedPass,
  flat: FlatParameters,
  buffers: Buffers,
  profile: AdapterProfile,
  { windowBytes = profile.maxBindingBytes, scaler, betas = BETAS }: AdamWOptions,
): void {
  const windows = flatWindows(flat.trainableLength, windowBytes);
  const part = (buffer: GPUBuffer, start: number, length: number): BufferWindow => ({
    buffer,
    offset: start * 4,
    bytes: length * 4,
  });
  const whole = (buffer: GPUBuffer): BufferWindow => ({ buffer, offset: 0, bytes: buffer.size });
  const gradients = windows.map((w) => part(flat.gradients, w.start, w.length));
  pass.add(lowerSumSquares(windows.map((w) => w.length), profile), {
    ...Object.fromEntries(gradients.map((window, i) => [`in${i}`, window])),
    [`in${windows.length}`]: whole(buffers.maximum),
    out0: whole(buffers.clip),
  });
  const skips = scaler !== undefined;
  if (skips) {
    pass.add(lowerGradScaler(scaler.rule), {
      out0: whole(buffers.clip),
      out1: whole(scaler.state.storage!.buffer),
      in0: whole(buffers.maximum),
    });
  }
  pass.add(lowerAdamWSteps(flat.trainableCount, betas, profile, skips), {
    out0: whole(buffers.segments),
    in0: whole(buffers.corrections),
    in1: whole(buffers.clip),
  });
  for (const [i, { start, length }] of windows.entries()) {
    pass.add(lowerAdamW(length, flat.trainableCount, profile, skips), {
      out0: part(flat.values, start, length),
      out1: part(buffers.first, start, length),
      out2: part(buffers.second, start, length),
      in0: gradients[i],
      in1: part(buffers.blocks, start / ADAMW_BLOCK, length / ADAMW_BLOCK),
      in2: whole(buffers.segments),
      in3: whole(buffers.hyper),
      in4: whole(buffers.clip),
    });
  }
}
