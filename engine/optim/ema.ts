/** Exponential moving averages of parameters: the teacher's weights. */
import { lerpFactors, lowerLerp } from "../../shaders/lerp.ts";
import { activeProfile, runtime } from "../evaluate.ts";
import type { Module } from "../nn/module.ts";
import type { Parameter } from "../nn/parameter.ts";
import type { StateTensor } from "../nn/state_dict.ts";
import type { Runtime } from "../runtime.ts";
import { sameShape } from "../shape.ts";
import type { FlatParameters } from "./flat_parameters.ts";
import { flatWindows, RecordedPass, submitCommands } from "./recorded_pass.ts";

/** Decay that grows with the iteration (from 0): `min(1 - 1 / (iteration + 1), limit)`. */
export function emaDecay(iteration: number, limit = 0.996): number {
  return Math.min(1 - 1 / (iteration + 1), limit);
}

/** A moving average of all values of flat parameters, buffers such as running statistics included. */
export class Ema {
  private readonly bound = new Set<Parameter>();

  private constructor(
    private readonly runtime: Runtime,
    private readonly flat: FlatParameters,
    /** The averages, laid out like the flat values. */
    readonly values: GPUBuffer,
    private readonly factors: GPUBuffer,
    private readonly pass: RecordedPass,
  ) {}

  /** Starts from the current values. */
  static async create(flat: FlatParameters): Promise<Ema> {
    const rt = await runtime();
    const profile = await activeProfile();
    const values = rt.createBuffer(flat.values.size);
    const factors = rt.createBuffer(8);
    const pass = new RecordedPass(rt);
    for (const { start, length } of flatWindows(flat.values.size / 4, profile.maxBindingBytes)) {
      const part = (buffer: GPUBuffer) => ({ buffer, offset: start * 4, bytes: length * 4 });
      pass.add(lowerLerp(length, profile), {
        out0: part(values),
        in0: part(flat.values),
        in1: { buffer: factors, offset: 0, bytes: factors.size },
      });
    }
    const ema = new Ema(rt, flat, values, factors, pass);
    submitCommands(
      rt,
      (encoder) => encoder.copyBufferToBuffer(flat.values, 0, values, 0, values.size),
    );
    return ema;
  }

  /** Moves the averages: `average * decay + value * (1 - decay)`. */
  update(decay: number): void {
    this.runtime.writeBuffer(this.factors, 0, lerpFactors(decay));
    submitCommands(this.runtime, (encoder) => this.pass.encode(encoder));
  }

  /**
   * Lets the parameters of another module of the same structure read the averages.
   *
   * @throws {RangeError} where a parameter has no counterpart of its key and shape.
   */
  bind(module: Module): void {
    const segments = new Map(this.flat.segments.map((s) => [s.key, s]));
    const named = module.namedParameters();
    for (const [key, { shape }] of named) {
      const segment = segments.get(key);
      if (!segment || !sameShape(segment.parameter.shape, shape)) {
        throw new RangeError(`Ema: "${key}" has no average.`);
      }
    }
    for (const [key, parameter] of named) {
      const segment = segments.get(key)!;
      this.bound.add(parameter);
      parameter.storage = { buffer: this.values, offset: segment.start * 4 };
      parameter.host = undefined;
    }
  }

  /** Host copies of the averages. */
  stateDict(): Promise<Map<string, StateTensor>> {
    return this.flat.split(this.values, this.flat.segments);
  }

  /** Continues from saved averages. @throws {RangeError} where a key or a size does not fit. */
  load(values: ReadonlyMap<string, StateTensor>): void {
    this.flat.write(values, this.values);
  }

  /** Frees the GPU memory and unbinds the parameters that read the averages. */
  destroy(): void {
    for (const parameter of this.bound) {
      if (parameter.storage?.buffer === this.values) parameter.storage = undefined;
    }
    this.pass.destroy();
    this.runtime.destroyBuffer(this.values);
    this.runtime.destroyBuffer(this.factors);
  }
}
