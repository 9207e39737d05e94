import { add, bitcast, mul, shiftRight, sub, type Tensor } from "../../engine/mod.ts";

/** Bits of an f32 that a bfloat16 lacks. */
const LOST_BITS = 16;

/**
 * f32 values rounded to the nearest bfloat16 (ties to even), still as f32. For finite values; the
 * largest become infinite, as in the conversion itself.
 */
export function roundToBfloat16(x: Tensor): Tensor {
  const bits = bitcast(x, "u32");
  const kept = shiftRight(bits, LOST_BITS);
  const odd = sub(kept, mul(shiftRight(kept, 1), 2));
  const rounded = shiftRight(add(add(bits, 2 ** (LOST_BITS - 1) - 1), odd), LOST_BITS);
  return bitcast(mul(rounded, 2 ** LOST_BITS), "f32");
}
