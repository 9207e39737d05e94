/** Rotary position encoding on a grid. */
import { type Shape, show } from "../shape.ts";
import { constant, type Tensor } from "../tensor.ts";
import { cast } from "./cast.ts";
import { add, arange, full, mul, sub } from "./elementwise.ts";
import { expand, flip, padZeros, reshape } from "./movement.ts";

/** Rotation angles of tokens. */
export interface RotaryTables {
  /** Cosines, [tokens, dim / 2]. */
  readonly cos: Tensor;
  /** Sines, [tokens, dim / 2]. */
  readonly sin: Tensor;
}

/**
 * Angles of a width x height grid in row-major order: the first half of the channel pairs turns with
 * x, the second half with y, by `position * theta^(-4 i / dim)`.
 *
 * @throws {RangeError} where `dim` is not a multiple of 4.
 */
export function axialRotary(
  dim: number,
  width: number,
  height: number,
  theta: number,
): RotaryTables {
  if (dim % 4 !== 0) throw new RangeError(`axialRotary: ${dim} channels are not a multiple of 4.`);
  const quarter = dim / 4;
  const shape = [width * height, dim / 2];
  const angles = Float64Array.from({ length: width * height * 2 * quarter }, (_, i) => {
    const token = Math.floor(i / (2 * quarter));
    const pair = i % (2 * quarter);
    const position = pair < quarter ? token % width : Math.floor(token / width);
    return position * theta ** (-4 * (pair % quarter) / dim);
  });
  return {
    cos: constant(Float32Array.from(angles, Math.cos), shape),
    sin: constant(Float32Array.from(angles, Math.sin), shape),
  };
}

/**
 * Rotates pairs of adjacent channels of [..., N, dim]. The tables [T, dim / 2] repeat where N is a
 * multiple of T (memory of several frames); the last `excluded` tokens stay as they are.
 *
 * @throws {RangeError} where the tables do not fit.
 */
export function applyRotary(
  x: Tensor,
  cos: Tensor,
  sin: Tensor,
  { excluded = 0 }: { excluded?: number } = {},
): Tensor {
  const [tokens, dim] = x.shape.slice(-2);
  const [period, pairs] = cos.shape;
  const repeats = (tokens - excluded) / period;
  if (!Number.isInteger(repeats) || repeats < 1 || dim !== 2 * pairs) {
    throw new RangeError(
      `applyRotary: tables ${show(cos.shape)} do not fit ${
        show(x.shape)
      } with ${excluded} excluded.`,
    );
  }
  const rotated = repeats * period;
  // Angle 0 beyond the tables: cosine 1, sine 0.
  const spread = (table: Tensor, beyond: number): Tensor => {
    const repeated = expand(reshape(table, [1, period, pairs]), [repeats, period, pairs]);
    const flat = reshape(repeated, [rotated, pairs, 1]);
    if (excluded === 0) return flat;
    const padded = padZeros(flat, [[0, excluded], [0, 0], [0, 0]]);
    if (beyond === 0) return padded;
    const rest = full([excluded, pairs, 1], beyond);
    return add(padded, padZeros(rest, [[rotated, 0], [0, 0], [0, 0]]));
  };
  const split: Shape = [...x.shape.slice(0, -1), pairs, 2];
  const paired = reshape(cast(x, "f32"), split);
  const signs = sub(mul(cast(arange(2), "f32"), 2), 1);
  const turned = mul(flip(paired, [-1]), mul(spread(sin, 0), signs));
  return reshape(cast(add(mul(paired, spread(cos, 1)), turned), x.dtype), x.shape);
}
