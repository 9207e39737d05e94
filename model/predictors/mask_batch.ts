/** Masks of a batch of points: thresholded, measured and filtered on the GPU, returned as bytes. */
import {
  constant,
  gt,
  indexSelect,
  interpolate,
  mul,
  pad,
  readAll,
  reshape,
  runtime,
  sum,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import type { BinaryMask } from "./video_options.ts";

/** Pixels that are packed into one number; their sum of powers of 2 is exact in f32. */
const PACKED = 16;

const POWERS = constant(Array.from({ length: PACKED }, (_, i) => 2 ** i));

/** Masks of one chunk, at most. */
const CHUNK_MASKS = 32;

/** Bytes of one chunk at full size, at most. */
const CHUNK_BYTES = 2 ** 26;

/** What decides about a mask. */
export interface MaskThresholds {
  /** Logits above it are inside. */
  readonly maskThreshold: number;
  /** Stability compares the areas at the threshold plus and minus this. */
  readonly stabilityScoreOffset: number;
}

/** A mask at the size of the crop. */
export interface MeasuredMask {
  /** Area above the upper threshold by the area above the lower one; not a number for 0 / 0. */
  readonly stability: number;
  /** Decodes the mask. */
  readonly unpack: () => BinaryMask;
}

type Size = readonly [height: number, width: number];

/** Pixels per number along each row. */
const packedWidth = (width: number) => Math.ceil(width / PACKED);

/** [n, 1, height, width] to [n, height, packed width]: 16 pixels in each number. */
function packRows(inside: Tensor, [height, width]: Size): Tensor {
  const [count] = inside.shape;
  const columns = packedWidth(width);
  const flat = reshape(inside, [count, height, width]);
  const padded = pad(flat, [[0, 0], [0, 0], [0, columns * PACKED - width]]);
  return sum(mul(reshape(padded, [count, height, columns, PACKED]), POWERS), -1);
}

function unpackRows(packed: Float32Array, [height, width]: Size): BinaryMask {
  const columns = packedWidth(width);
  const data = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bits = packed[y * columns + Math.floor(x / PACKED)];
      data[y * width + x] = (bits >> (x % PACKED)) & 1;
    }
  }
  return { data, width, height };
}

/**
 * Resizes some of the masks [N, 1, h, w] to the crop's size and measures them. Chunks are all of one
 * size, the last one filled up with repeats, so that one plan serves them.
 *
 * @param chosen the masks that are wanted.
 */
export async function measureMasks(
  masks: Tensor,
  chosen: readonly number[],
  size: Size,
  { maskThreshold, stabilityScoreOffset }: MaskThresholds,
): Promise<MeasuredMask[]> {
  const [height, width] = size;
  const { maxBindingBytes } = (await runtime()).device.profile;
  const bytes = 4 * height * packedWidth(width) * PACKED;
  const chunk = Math.max(1, Math.floor(Math.min(CHUNK_BYTES, maxBindingBytes) / bytes));
  const step = Math.min(chunk, CHUNK_MASKS, masks.shape[0]);
  const measured: MeasuredMask[] = [];
  for (let start = 0; start < chosen.length; start += step) {
    const part = Uint32Array.from(
      { length: step },
      (_, i) => chosen[Math.min(start + i, chosen.length - 1)],
    );
    const logits = interpolate(indexSelect(masks, 0, tensor(part)), { size, mode: "bilinear" });
    // Sums of single rows are exact in f32, whatever the size of the mask.
    const areas = (offset: number) => sum(gt(logits, maskThreshold + offset), -1);
    const [inner, outer, packed] = await readAll([
      areas(stabilityScoreOffset),
      areas(-stabilityScoreOffset),
      packRows(gt(logits, maskThreshold), size),
    ]) as Float32Array[];
    for (let i = 0; i < Math.min(step, chosen.length - start); i++) {
      const total = (rows: Float32Array) =>
        rows.subarray(i * height, (i + 1) * height).reduce((a, b) => a + b, 0);
      const rows = packed.subarray(i * packed.length / step, (i + 1) * packed.length / step);
      measured.push({
        stability: total(inner) / total(outer),
        unpack: () => unpackRows(rows, size),
      });
    }
  }
  return measured;
}
