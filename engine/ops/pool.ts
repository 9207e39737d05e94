/** Max pooling, composed of strided slices. */
import { show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { lt, where } from "./elementwise.ts";
import { slice } from "./movement.ts";

/**
 * Largest value of each kernel-sized window of [B, C, H, W], without padding; windows that would pass
 * the edge are left out. At ties the first place in row-major order gets the gradient, as in PyTorch.
 *
 * @throws {RangeError} where the kernel is larger than the map.
 */
export function maxPool2d(
  x: Tensor,
  { kernel, stride = kernel }: { kernel: number; stride?: number },
): Tensor {
  const [, , height, width] = x.shape;
  if (x.rank !== 4 || kernel > height || kernel > width) {
    throw new RangeError(`maxPool2d: kernel ${kernel} does not fit ${show(x.shape)}.`);
  }
  const taps = (size: number) => (Math.floor((size - kernel) / stride)) * stride + 1;
  let best: Tensor | undefined;
  for (let i = 0; i < kernel; i++) {
    const row = slice(x, 2, i, i + taps(height), stride);
    for (let j = 0; j < kernel; j++) {
      const value = slice(row, 3, j, j + taps(width), stride);
      best = best ? where(lt(best, value), value, best) : value;
    }
  }
  return best!;
}
