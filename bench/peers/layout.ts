/** Operands of cases, and orders of dimensions. */
import { type PeerCase, values } from "./protocol.ts";

/** Elements of a shape. */
export const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** An array with its shape. */
export interface Dense {
  readonly data: Float32Array<ArrayBuffer>;
  readonly shape: readonly number[];
}

/** The operands of a case. */
export function operands({ shapes }: PeerCase): Dense[] {
  return shapes.map((shape, i) => ({
    data: values(i + 1, numel(shape)),
    shape,
  }));
}

/** A copy with dimension i being `order[i]` of the original. */
export function permuted(
  data: ArrayLike<number>,
  shape: readonly number[],
  order: readonly number[],
): Dense {
  const strides = shape.map((_, d) => numel(shape.slice(d + 1)));
  const size = order.map((d) => shape[d]);
  const steps = order.map((d) => strides[d]);
  const out = new Float32Array(data.length);
  const index = size.map(() => 0);
  for (let i = 0, from = 0; i < out.length; i++) {
    out[i] = data[from];
    for (let d = size.length - 1; d >= 0; d--) {
      from += steps[d];
      if (++index[d] < size[d]) break;
      from -= steps[d] * size[d];
      index[d] = 0;
    }
  }
  return { data: out, shape: size };
}
