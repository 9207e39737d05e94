/** Resizing of slices on the host. */
import type { VolumeShape } from "./dataset.ts";

/** Rows and columns. */
export type SliceSize = readonly [height: number, width: number];

/**
 * Slices [S, H, W] (or any stack of planes) resized to `size` by the nearest pixel: output pixel i
 * takes input pixel floor((i + 0.5) * in / out), the half-pixel-centre convention ("nearest-exact"
 * of PyTorch). Good for labels and images (order 0).
 *
 * @throws {RangeError} if the data do not fill the shape or a size is not a positive whole number.
 */
export function resizeNearest<T extends Float32Array | Uint8Array>(
  data: T,
  shape: VolumeShape,
  size: SliceSize,
): T {
  check(data, shape, size);
  const [planes, h, w] = shape;
  const [outH, outW] = size;
  const rows = nearest(h, outH);
  const columns = nearest(w, outW);
  const out = data instanceof Uint8Array
    ? new Uint8Array(planes * outH * outW)
    : new Float32Array(planes * outH * outW);
  let at = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < outH; y++) {
      const row = (plane * h + rows[y]!) * w;
      for (let x = 0; x < outW; x++) out[at++] = data[row + columns[x]!]!;
    }
  }
  return out as T;
}

/**
 * Planes [S, H, W] resized to `size` by bilinear interpolation: `align_corners=False` of PyTorch,
 * without antialiasing.
 *
 * @throws {RangeError} if the data do not fill the shape or a size is not a positive whole number.
 */
export function resizeBilinear(
  data: Float32Array,
  shape: VolumeShape,
  size: SliceSize,
): Float32Array {
  check(data, shape, size);
  const [planes, h, w] = shape;
  const [outH, outW] = size;
  if (h === outH && w === outW) return data.slice();
  const rows = linear(h, outH);
  const columns = linear(w, outW);
  const out = new Float32Array(planes * outH * outW);
  let at = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (let y = 0; y < outH; y++) {
      const top = (plane * h + rows.low[y]!) * w;
      const bottom = (plane * h + rows.high[y]!) * w;
      const v = rows.weight[y]!;
      for (let x = 0; x < outW; x++) {
        const [a, b, u] = [columns.low[x]!, columns.high[x]!, columns.weight[x]!];
        const upper = data[top + a]! * (1 - u) + data[top + b]! * u;
        const lower = data[bottom + a]! * (1 - u) + data[bottom + b]! * u;
        out[at++] = upper * (1 - v) + lower * v;
      }
    }
  }
  return out;
}

/**
 * Class probabilities (or logits) [C, S, h, w] of resized slices brought back bilinearly to the
 * grid [S, H, W] of the original volume: [C, S, H, W].
 *
 * @throws {RangeError} if the data do not fill the shape.
 */
export function probabilitiesToGrid(
  probabilities: Float32Array,
  classes: number,
  shape: VolumeShape,
  grid: SliceSize,
): Float32Array {
  return resizeBilinear(probabilities, [classes * shape[0], shape[1], shape[2]], grid);
}

/** The class of the largest value at each voxel of [C, ...] with `classes` <= 256 classes. */
export function argmaxLabels(values: Float32Array, classes: number): Uint8Array {
  const count = values.length / classes;
  if (!Number.isInteger(count) || classes < 1 || classes > 256) {
    throw new RangeError(`${values.length} values cannot be split into ${classes} classes.`);
  }
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    for (let c = 1; c < classes; c++) {
      if (values[c * count + i]! > values[labels[i]! * count + i]!) labels[i] = c;
    }
  }
  return labels;
}

function check(data: ArrayLike<number>, shape: VolumeShape, size: SliceSize): void {
  if (data.length !== shape[0] * shape[1] * shape[2]) {
    throw new RangeError(`${data.length} values do not fill the shape [${shape.join(", ")}].`);
  }
  if (size.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new RangeError(`A slice cannot be resized to ${size.join(" x ")} pixels.`);
  }
}

function nearest(from: number, to: number): Uint32Array {
  return Uint32Array.from(
    { length: to },
    (_, i) => Math.min(from - 1, Math.floor(((i + 0.5) * from) / to)),
  );
}

function linear(from: number, to: number) {
  const low = new Uint32Array(to);
  const high = new Uint32Array(to);
  const weight = new Float32Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    low[i] = Math.min(from - 1, Math.floor(at));
    high[i] = Math.min(from - 1, low[i]! + 1);
    weight[i] = high[i] === low[i] ? 0 : at - low[i]!;
  }
  return { low, high, weight };
}
