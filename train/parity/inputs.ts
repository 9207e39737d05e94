/** Inputs of a fixture, made from their description in the manifest. */
import { numel, type Shape, show } from "../../engine/shape.ts";
import { fnv1a, hashBits, hashUnits, hashValues } from "./hash.ts";

/** Host values with their shape. */
export interface HostTensor {
  readonly shape: Shape;
  readonly data: Float16Array | Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array;
}

/** Nested arrays of numbers. */
export type Nested = number | readonly Nested[];

/** Description of an input in a manifest. */
export interface InputSpec {
  readonly gen: string;
  readonly seed?: string;
  readonly shape?: readonly number[];
  readonly offset?: number;
  readonly scale?: number;
  readonly dtype?: string;
  readonly values?: Nested;
  readonly discs?: readonly (readonly [number, number, number])[];
  /** Moving disc of a synthetic video: [cx, cy, dx, dy, r]. */
  readonly disc?: readonly number[];
  /** Moving square of a synthetic video: [bx, by, bdx, bdy, half]. */
  readonly box?: readonly number[];
  readonly stored?: string;
}

type Make = (spec: InputSpec, stored: ReadonlyMap<string, HostTensor>) => HostTensor;

const GENERATORS: Readonly<Record<string, Make>> = {
  hash: (spec) => {
    const shape = required(spec, "shape");
    const { offset = 0, scale = 1 } = spec;
    return { shape, data: hashValues(required(spec, "seed"), numel(shape), offset, scale) };
  },
  unit: (spec) => {
    const shape = required(spec, "shape");
    return { shape, data: hashUnits(required(spec, "seed"), numel(shape)) };
  },
  literal: (spec) => {
    const values = required(spec, "values");
    const flat = flatten(values);
    const data = spec.dtype === "I32" ? Int32Array.from(flat) : Float32Array.from(flat);
    return { shape: nestedShape(values), data };
  },
  disc: discMask,
  frames: syntheticVideo,
  stored: (spec, stored) => {
    const name = required(spec, "stored");
    const found = stored.get(name);
    if (!found) throw new Error(`The fixture's safetensors file has no tensor "${name}".`);
    return found;
  },
};

/** Makes the input that `spec` describes. @throws where the generator is unknown or lacks a field. */
export function makeInput(
  spec: InputSpec,
  stored: ReadonlyMap<string, HostTensor>,
): HostTensor {
  const make = GENERATORS[spec.gen];
  if (!make) throw new Error(`Inputs of kind "${spec.gen}" are unknown.`);
  return make(spec, stored);
}

function required<K extends keyof InputSpec>(spec: InputSpec, key: K): NonNullable<InputSpec[K]> {
  const value = spec[key];
  if (value === undefined) throw new Error(`An input of kind "${spec.gen}" has no "${key}".`);
  return value as NonNullable<InputSpec[K]>;
}

function flatten(values: Nested): number[] {
  return typeof values === "number" ? [values] : values.flatMap(flatten);
}

function nestedShape(values: Nested): number[] {
  if (typeof values === "number") return [];
  return [values.length, ...(values.length > 0 ? nestedShape(values[0]) : [])];
}

function discMask(spec: InputSpec): HostTensor {
  const shape = required(spec, "shape");
  const discs = required(spec, "discs");
  if (discs.length !== shape[0]) {
    throw new Error(`A mask of shape ${show(shape)} has ${discs.length} discs.`);
  }
  const [height, width] = shape.slice(-2);
  const plane = numel(shape) / shape[0];
  const data = new Float32Array(numel(shape));
  for (let i = 0; i < data.length; i++) {
    const [cx, cy, r] = discs[Math.floor(i / plane)];
    const x = i % width;
    const y = Math.floor(i / width) % height;
    data[i] = (x - cx) ** 2 + (y - cy) ** 2 <= r * r ? 1 : 0;
  }
  return { shape, data };
}

function syntheticVideo(spec: InputSpec): HostTensor {
  const shape = required(spec, "shape");
  const [count, height, width, channels] = shape;
  const [bx, by, bdx, bdy, half] = required(spec, "box");
  const [cx, cy, dx, dy, r] = required(spec, "disc");
  const seed = fnv1a(required(spec, "seed"));
  const data = new Uint8Array(numel(shape));
  let at = 0;
  for (let t = 0; t < count; t++) {
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const inBox = Math.abs(x - (bx + t * bdx)) <= half && Math.abs(y - (by + t * bdy)) <= half;
        const inDisc = (x - (cx + t * dx)) ** 2 + (y - (cy + t * dy)) ** 2 <= r * r;
        for (let c = 0; c < channels; c++) {
          const noise = hashBits(seed, (y * width + x) * channels + c) >>> 28;
          const background = 40 + (3 * x + 5 * y + 29 * c) % 97 + noise;
          data[at++] = inDisc ? 220 - 60 * c - noise : inBox ? 60 + 60 * c + noise : background;
        }
      }
    }
  }
  return { shape, data };
}

const MEAN = [0.485, 0.456, 0.406];
const STD = [0.229, 0.224, 0.225];

/** ImageNet-normalised model input [T, 3, H, W] of u8 frames [T, H, W, 3], in float64 arithmetic. */
export function normalizeFrames(frames: HostTensor): HostTensor & { data: Float32Array } {
  const [count, height, width, channels] = frames.shape;
  const plane = height * width;
  const data = new Float32Array(frames.data.length);
  for (let t = 0; t < count; t++) {
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < plane; i++) {
        const value = frames.data[(t * plane + i) * channels + c];
        data[(t * channels + c) * plane + i] = (value / 255 - MEAN[c]) / STD[c];
      }
    }
  }
  return { shape: [count, channels, height, width], data };
}
