/** Partition of feature maps into square windows. */
import { requireWhole, type Shape, show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { narrow, padZeros, permute, reshape } from "./movement.ts";

/** Windows of a feature map, and its size after padding. */
export interface Windows {
  /** [B * count, window, window, C] */
  readonly windows: Tensor;
  /** [height, width] that the windows cover. */
  readonly padded: readonly [number, number];
}

/** Cuts [B, H, W, C] into windows; zeros at the bottom and right fill up the last ones. */
export function windowPartition(x: Tensor, window: number): Windows {
  if (x.rank !== 4) throw new RangeError(`windowPartition: ${show(x.shape)} is not [B, H, W, C].`);
  requireWhole("windowPartition", "the window", window);
  const [batch, height, width, channels] = x.shape;
  const rows = Math.ceil(height / window);
  const columns = Math.ceil(width / window);
  const padded = [rows * window, columns * window] as const;
  const amounts = [[0, 0], [0, padded[0] - height], [0, padded[1] - width], [0, 0]] as const;
  const grid = reshape(padZeros(x, amounts), [batch, rows, window, columns, window, channels]);
  const shape = [batch * rows * columns, window, window, channels];
  return { windows: reshape(permute(grid, [0, 1, 3, 2, 4, 5]), shape), padded };
}

/**
 * Joins windows [B * count, window, window, C] to [B, H, W, C] and cuts the padding off.
 *
 * @param padded size of the map that the windows cover.
 * @param size [H, W] of the result.
 * @throws {RangeError} where the windows do not cover `padded`.
 */
export function windowUnpartition(
  windows: Tensor,
  window: number,
  padded: readonly [number, number],
  size: readonly [number, number],
): Tensor {
  const [rows, columns] = [padded[0] / window, padded[1] / window];
  const batch = windows.shape[0] / (rows * columns);
  const expected: Shape = [batch * rows * columns, window, window, windows.shape[3]];
  if (![rows, columns, batch].every(Number.isInteger) || show(expected) !== show(windows.shape)) {
    throw new RangeError(
      `windowUnpartition: windows ${
        show(windows.shape)
      } of side ${window} do not cover [${padded}].`,
    );
  }
  const channels = windows.shape[3];
  const grid = reshape(windows, [batch, rows, columns, window, window, channels]);
  const map = reshape(permute(grid, [0, 1, 3, 2, 4, 5]), [batch, padded[0], padded[1], channels]);
  return narrow(narrow(map, 1, 0, size[0]), 2, 0, size[1]);
}
