/** Conversions between element types. */
import { type DType, DTYPES } from "../dtype.ts";
import { node, type Tensor } from "../tensor.ts";

/** Converts the element type; floats to integers truncate, f32 to f16 rounds to the nearest, ties to even. */
export function cast(x: Tensor, to: DType): Tensor {
  return x.dtype === to ? x : node("cast", { to }, [x], x.shape, to);
}

/**
 * Reinterprets the bits as another type.
 *
 * @throws {TypeError} where elements of the two types differ in size.
 */
export function bitcast(x: Tensor, to: DType): Tensor {
  if (x.dtype === to) return x;
  if (DTYPES[x.dtype].bytes !== DTYPES[to].bytes) {
    throw new TypeError(`bitcast: an element of ${x.dtype} is not of the size of one of ${to}.`);
  }
  return node("bitcast", { to }, [x], x.shape, to);
}
