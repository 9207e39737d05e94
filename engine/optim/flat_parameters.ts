/** Parameters of a model in one GPU buffer, and their gradients in another. */
import { runtime } from "../evaluate.ts";
import { Module } from "../nn/module.ts";
import type { Parameter } from "../nn/parameter.ts";
import { initialValues, requireData, type StateTensor } from "../nn/state_dict.ts";
import type { Runtime } from "../runtime.ts";
import { sameShape, show } from "../shape.ts";
import type { Storage, Tensor } from "../tensor.ts";
import { readFloats, writeFloats } from "./flat_buffer.ts";

/** A parameter with its key in the state dict. */
export type NamedParameter = readonly [key: string, parameter: Parameter];

/** Where a parameter lies in the flat buffers. */
export interface Segment {
  /** Key of the parameter in the state dict. */
  readonly key: string;
  /** The parameter, bound to this part of the flat values. */
  readonly parameter: Parameter;
  /** First element, a multiple of {@link SEGMENT_ALIGNMENT}. */
  readonly start: number;
  /** Number of elements. */
  readonly size: number;
}

/** Segments begin at multiples of this many elements (and of the device's offset alignment). */
export const SEGMENT_ALIGNMENT = 64;

/** What {@link FlatParameters.create} starts from. */
export interface FlatOptions {
  /** Values by key, asked for one after the other; keys without start from their initialiser. */
  readonly values?: Pick<ReadonlyMap<string, StateTensor>, "get">;
  /** Seed of the initialisers. */
  readonly seed?: number;
}

/**
 * Puts parameters into GPU memory and binds them to it. Trainable ones come first, so that gradients
 * and the optimiser's state cover only these.
 */
export class FlatParameters {
  private gradientBuffer: GPUBuffer | undefined;

  private constructor(
    private readonly runtime: Runtime,
    /** All parameters, trainable ones first, else in the order given. */
    readonly segments: readonly Segment[],
    /** Number of leading segments that an optimiser may change. */
    readonly trainableCount: number,
    /** Elements of the trainable segments, padding included. */
    readonly trainableLength: number,
    /** The flat values, f32. */
    readonly values: GPUBuffer,
  ) {}

  /**
   * Allocates the flat buffer, fills it and binds every parameter to its segment.
   *
   * @throws {RangeError} where a given value has another shape than its parameter, and where one
   * parameter comes under two keys (tied weights); then all parameters are bound to what they were.
   */
  static async create(
    source: Module | readonly NamedParameter[],
    { values, seed = 0 }: FlatOptions = {},
  ): Promise<FlatParameters> {
    const rt = await runtime();
    const named = source instanceof Module ? source.namedParameters() : source;
    requireDistinct(named);
    const order = [
      ...named.filter(([, p]) => p.trainable),
      ...named.filter(([, p]) => !p.trainable),
    ];
    const trainableCount = named.filter(([, p]) => p.trainable).length;
    const align = Math.max(SEGMENT_ALIGNMENT, rt.device.offsetAlignment / 4);
    let end = 0;
    let trainableLength = 0;
    const segments = order.map(([key, parameter], i): Segment => {
      const start = end;
      end = start + Math.ceil(parameter.size / align) * align;
      if (i < trainableCount) trainableLength = end;
      return { key, parameter, start, size: parameter.size };
    });
    const buffer = rt.createBuffer(end * 4);
    const flat = new FlatParameters(rt, segments, trainableCount, trainableLength, buffer);
    try {
      for (const segment of segments) flat.fill(segment, values?.get(segment.key), seed);
    } catch (error) {
      flat.destroy();
      throw error;
    }
    for (const { parameter, start } of segments) {
      parameter.storage = { buffer, offset: start * 4 };
      parameter.host = undefined;
    }
    return flat;
  }

  /** Writes the first values of a parameter. */
  private fill(segment: Segment, given: StateTensor | undefined, seed: number): void {
    const { key, parameter, start } = segment;
    if (given) requireValues(segment, given);
    const data = given?.data ?? parameter.host as Float32Array | undefined ??
      initialValues(key, parameter, seed);
    if (data.length !== segment.size) {
      throw new RangeError(`${key} has ${segment.size} elements, not ${data.length}.`);
    }
    writeFloats(this.runtime, this.values, start, data);
  }

  /** The parameters that an optimiser may change, with their segments' order. */
  get trainable(): readonly Parameter[] {
    return this.segments.slice(0, this.trainableCount).map((s) => s.parameter);
  }

  /**
   * The flat gradients of the trainable segments, f32; zero until written.
   *
   * @throws {RangeError} after {@link destroy}.
   */
  get gradients(): GPUBuffer {
    this.runtime.requireLive(this.values);
    return this.gradientBuffer ??= this.runtime.createBuffer(this.trainableLength * 4);
  }

  /**
   * Pairs each gradient with the memory it belongs to, for the `write` of a request. Entry i belongs
   * to parameter i of {@link trainable}; `undefined` ones are left out.
   */
  gradientTargets(gradients: readonly (Tensor | undefined)[]): (readonly [Tensor, Storage])[] {
    if (gradients.length !== this.trainableCount) {
      throw new RangeError(`${gradients.length} gradients for ${this.trainableCount} parameters.`);
    }
    return gradients.flatMap((g, i): (readonly [Tensor, Storage])[] => {
      if (!g) return [];
      const { key, parameter, start } = this.segments[i];
      if (!sameShape(g.shape, parameter.shape)) {
        throw new RangeError(
          `The gradient of ${key} has shape ${show(g.shape)}, not ${show(parameter.shape)}.`,
        );
      }
      return [[g, { buffer: this.gradients, offset: start * 4 }]];
    });
  }

  /** Values of all parameters, in the order of the segments. */
  stateDict(): Promise<Map<string, StateTensor>> {
    return this.split(this.values, this.segments);
  }

  /** Gradients of the trainable parameters as last written. */
  gradientDict(): Promise<Map<string, StateTensor>> {
    return this.split(this.gradients, this.segments.slice(0, this.trainableCount));
  }

  /** Reads a buffer laid out like the segments. */
  async split(
    buffer: GPUBuffer,
    segments: readonly Segment[],
  ): Promise<Map<string, StateTensor>> {
    const last = segments[segments.length - 1];
    const all = await readFloats(this.runtime, buffer, 0, last ? last.start + last.size : 0);
    return new Map(segments.map(({ key, parameter, start, size }) => [
      key,
      { shape: parameter.shape, data: all.slice(start, start + size) },
    ]));
  }

  /**
   * Writes values of some keys into a buffer laid out like the segments (the values by default).
   *
   * @throws {RangeError} for a key that the buffer has no place for, or another shape; then nothing has
   * been written.
   */
  write(tensors: ReadonlyMap<string, StateTensor>, buffer: GPUBuffer = this.values): void {
    const ends = (s: Segment) => (s.start + s.size) * 4;
    const known = new Map(
      this.segments.filter((s) => ends(s) <= buffer.size).map((s) => [s.key, s]),
    );
    const kind = buffer.size < this.values.size ? "trained parameter" : "parameter";
    for (const [key, values] of tensors) {
      const segment = known.get(key);
      if (!segment) throw new RangeError(`There is no ${kind} "${key}".`);
      requireValues(segment, values);
    }
    for (const [key, { data }] of tensors) {
      writeFloats(this.runtime, buffer, known.get(key)!.start, data);
    }
  }

  /** Frees the GPU memory and unbinds the parameters. */
  destroy(): void {
    for (const { parameter } of this.segments) {
      if (parameter.storage?.buffer === this.values) parameter.storage = undefined;
    }
    this.runtime.destroyBuffer(this.values);
    if (this.gradientBuffer) this.runtime.destroyBuffer(this.gradientBuffer);
    this.gradientBuffer = undefined;
  }
}

/** Checks that values are those of a segment's parameter. @throws {RangeError} */
function requireValues({ key, parameter }: Segment, given: StateTensor): void {
  requireData(key, given);
  if (sameShape(given.shape, parameter.shape)) return;
  throw new RangeError(
    `${key} has shape ${show(given.shape)}; the model needs ${show(parameter.shape)}.`,
  );
}

/** Each parameter has one place, and counts once towards the norm of the gradients. @throws {RangeError} */
function requireDistinct(named: readonly NamedParameter[]): void {
  const keys = new Map<Parameter, string>();
  for (const [key, parameter] of named) {
    const first = keys.get(parameter);
    if (first !== undefined) {
      throw new RangeError(
        `FlatParameters: "${first}" and "${key}" are one parameter; tied weights are not supported.`,
      );
    }
    keys.set(parameter, key);
  }
}
