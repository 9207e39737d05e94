/** Gradient accumulation: one optimiser step from several micro-batches. */
import { lowerLerp } from "../../shaders/lerp.ts";
import { activeProfile, runtime } from "../evaluate.ts";
import type { Runtime } from "../runtime.ts";
import type { FlatParameters } from "./flat_parameters.ts";
import { flatWindows, RecordedPass, submitCommands } from "./recorded_pass.ts";

/** Memory for sums, and the dispatches that add to them. */
interface Sums {
  readonly values: GPUBuffer;
  /** What sums and gradients are multiplied with before they are added. */
  readonly factors: GPUBuffer;
  readonly pass: RecordedPass;
}

/**
 * Averages the gradients of `count` micro-batches. Of losses that are means over equally large batches
 * this gives the gradients of one large batch, in the memory of a small one.
 *
 * @example
 * ```ts
 * import { AdamW, FlatParameters, GradientAccumulator, Linear } from "sam2";
 * import { gradients, mean, square, submit, tensor } from "sam2";
 *
 * const layer = new Linear(2, 1);
 * const flat = await FlatParameters.create(layer);
 * const optimizer = await AdamW.create(flat);
 * const accumulator = await GradientAccumulator.create(flat, 2);
 * for (const batch of [[1, 2], [3, 4]]) {
 *   const loss = mean(square(layer.forward(tensor(batch, [1, 2]))));
 *   await submit({ write: flat.gradientTargets(gradients(loss, flat.trainable)) });
 *   accumulator.add();
 * }
 * optimizer.update(1e-3, accumulator.finish());
 * ```
 */
export class GradientAccumulator {
  private added = 0;
  private readonly present: boolean[];

  private constructor(
    private readonly runtime: Runtime,
    private readonly flat: FlatParameters,
    /** Micro-batches of a step. */
    readonly count: number,
    /** Absent where there is only one micro-batch: its gradients are the mean already. */
    private readonly sums: Sums | undefined,
  ) {
    this.present = new Array<boolean>(flat.trainableCount).fill(false);
  }

  /**
   * Allocates as much memory as the gradients take, if there are several micro-batches.
   *
   * @throws {RangeError} where `count` is not a positive integer.
   */
  static async create(flat: FlatParameters, count: number): Promise<GradientAccumulator> {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`GradientAccumulator: ${count} micro-batches make no step.`);
    }
    const rt = await runtime();
    if (count === 1) return new GradientAccumulator(rt, flat, count, undefined);
    const profile = await activeProfile();
    const values = rt.createBuffer(flat.trainableLength * 4);
    const factors = rt.createBuffer(8);
    rt.writeBuffer(factors, 0, Float32Array.of(1, 1 / count));
    const pass = new RecordedPass(rt);
    for (const { start, length } of flatWindows(flat.trainableLength, profile.maxBindingBytes)) {
      const part = (buffer: GPUBuffer) => ({ buffer, offset: start * 4, bytes: length * 4 });
      pass.add(lowerLerp(length, profile), {
        out0: part(values),
        in0: part(flat.gradients),
        in1: { buffer: factors, offset: 0, bytes: factors.size },
      });
    }
    return new GradientAccumulator(rt, flat, count, { values, factors, pass });
  }

  /**
   * Takes in the flat gradients of a micro-batch, which have been submitted.
   *
   * @param present whether it gave each trainable parameter a gradient (all where left out); the
   * gradients of the others count as 0.
   * @throws {RangeError} after the last micro-batch of a step, or for another number of flags.
   */
  add(present?: readonly boolean[]): void {
    const { flat, sums, count } = this;
    if (this.added === count) {
      throw new RangeError(`GradientAccumulator: a step has ${count} micro-batches, not more.`);
    }
    if (present && present.length !== flat.trainableCount) {
      throw new RangeError(
        `GradientAccumulator: ${present.length} flags for ${flat.trainableCount} parameters.`,
      );
    }
    this.added++;
    for (let i = 0; i < this.present.length; i++) this.present[i] ||= present?.[i] ?? true;
    if (!sums) return;
    submitCommands(this.runtime, (encoder) => {
      present?.forEach((here, i) => {
        const { start, size } = flat.segments[i];
        if (!here) encoder.clearBuffer(flat.gradients, start * 4, size * 4);
      });
      sums.pass.encode(encoder);
    });
  }

  /**
   * Puts the means into the flat gradients and begins anew.
   *
   * @returns which parameters have a gradient, as `AdamW.update` takes it.
   * @throws {RangeError} before the last micro-batch of a step.
   */
  finish(): boolean[] {
    const { flat, sums, count } = this;
    if (this.added < count) {
      throw new RangeError(`GradientAccumulator: ${this.added} of ${count} micro-batches are in.`);
    }
    if (sums) {
      const { values } = sums;
      submitCommands(this.runtime, (encoder) => {
        encoder.copyBufferToBuffer(values, 0, flat.gradients, 0, flat.trainableLength * 4);
        encoder.clearBuffer(values);
      });
    }
    this.added = 0;
    const present = [...this.present];
    this.present.fill(false);
    return present;
  }

  /** Frees the GPU memory. */
  destroy(): void {
    if (!this.sums) return;
    this.sums.pass.destroy();
    this.runtime.destroyBuffer(this.sums.values);
    this.runtime.destroyBuffer(this.sums.factors);
  }
}
