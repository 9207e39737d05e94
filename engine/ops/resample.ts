/** 1-D resampling by a banded matrix. */
import { lowerResample } from "../../shaders/resample.ts";
import { requireFloat, type TypedArray } from "../dtype.ts";
import type { HeavyRule } from "../rule.ts";
import { show } from "../shape.ts";
import { constant, node, type Tensor } from "../tensor.ts";
import { type Band, transposeBand } from "./resample_tables.ts";

/** Tables of a band as leaves on the GPU. */
interface Tables {
  readonly starts: Tensor;
  readonly weights: Tensor;
}

/** Bands repeat at every step and with every shape: equal ones share their GPU memory. */
const cache = new Map<string, Tables>();

const bits = (data: TypedArray) => {
  let hash = 0x811c9dc5;
  const words = new Uint32Array(data.buffer, data.byteOffset, data.length);
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193) ^ (hash >>> 13);
  return hash >>> 0;
};

const equal = (a: TypedArray, b: TypedArray) =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** Tables that hold these values: found by hash, then compared. */
function tablesOf({ starts, weights, length, taps }: Band): Tables {
  const key = `${length}x${taps}:${bits(starts)}:${bits(weights)}`;
  for (let probe = 0;; probe++) {
    const found = cache.get(`${key}:${probe}`);
    if (!found) {
      const made = { starts: constant(starts), weights: constant(weights, [length, taps]) };
      cache.set(`${key}:${probe}`, made);
      return made;
    }
    if (equal(found.starts.host!, starts) && equal(found.weights.host!, weights)) return found;
  }
}

/** Transposed bands by the weights of the given band, and by its number of inputs. */
const transposed = new WeakMap<Tensor, Map<number, Band>>();

function transposeTables(starts: Tensor, weights: Tensor, size: number): Band {
  const known = transposed.get(weights) ?? new Map<number, Band>();
  transposed.set(weights, known);
  let band = known.get(size);
  if (!band) {
    band = transposeBand(starts.host as Int32Array, weights.host as Float32Array, size);
    known.set(size, band);
  }
  return band;
}

/**
 * Resamples the middle dimension of [outer, size, inner]: row n of the result is the sum of
 * `band.weights[n, t]` times row `band.starts[n] + t`.
 *
 * @throws {RangeError} for another rank.
 * @throws {TypeError} for a tensor that is neither f32 nor f16.
 */
export function resample(x: Tensor, band: Band): Tensor {
  if (x.rank !== 3) throw new RangeError(`resample: ${show(x.shape)} is not [outer, size, inner].`);
  requireFloat("resample", x);
  const [outer, size, inner] = x.shape;
  const { length, taps } = band;
  const { starts, weights } = tablesOf(band);
  const attributes = { outer, size, inner, length, taps };
  return node("resample", attributes, [x, starts, weights], [outer, length, inner]);
}

/** Rule of the primitive. The tables are constants: no gradient reaches them. */
export const resampleRule: HeavyRule<"resample"> = {
  epilogue: true,
  gradient: (n, g) => {
    const [, starts, weights] = n.inputs;
    const band = transposeTables(starts, weights, n.attributes.size);
    return [resample(g, band), undefined, undefined];
  },
  lower: ({ attributes }, profile, epilogue) => lowerResample(attributes, profile, epilogue),
};
