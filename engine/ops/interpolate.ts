/** Resizing of images as two 1-D resamples. */
import { requireFloat } from "../dtype.ts";
import { numel } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { reshape } from "./movement.ts";
import { resample } from "./resample.ts";
import { type Band, isIdentity, type ResampleMode, resizeBand } from "./resample_tables.ts";

const MODES: readonly ResampleMode[] = ["nearest", "bilinear", "bicubic"];

/** Options of {@link interpolate}: the target size or a factor, one of both. */
export interface InterpolateOptions {
  /** [height, width] of the result. */
  readonly size?: readonly [number, number];
  /** Result per input sample; sizes are rounded down. */
  readonly scaleFactor?: number;
  /** Interpolation filter. */
  readonly mode: ResampleMode;
  /** Low-pass filter when shrinking (bilinear and bicubic only). */
  readonly antialias?: boolean;
}

/**
 * Resizes [B, C, H, W] as `torch.nn.functional.interpolate` does with align_corners=false: bicubic with
 * a = -0.75 and repeated edges (a = -0.5 with antialias), nearest by `floor(i * H / height)`.
 *
 * @throws {RangeError} for another rank, for sizes below 1, or where not exactly one of `size` and
 * `scaleFactor` is given.
 * @throws {TypeError} for a tensor that is neither f32 nor f16.
 */
export function interpolate(x: Tensor, options: InterpolateOptions): Tensor {
  const { size, scaleFactor, mode, antialias = false } = options;
  if (x.rank !== 4) throw new RangeError(`interpolate: rank ${x.rank} is not [B, C, H, W].`);
  if ((size === undefined) === (scaleFactor === undefined)) {
    throw new RangeError("interpolate: give either size or scaleFactor.");
  }
  if (!MODES.includes(mode)) {
    throw new RangeError(`interpolate: the mode "${mode}" is not one of ${MODES.join(", ")}.`);
  }
  requireFloat("interpolate", x);
  if (antialias && mode === "nearest") {
    throw new RangeError("interpolate: nearest has no antialias.");
  }
  const factor = scaleFactor ?? 0;
  const target = size ?? [Math.floor(x.shape[2] * factor), Math.floor(x.shape[3] * factor)];
  if (target.some((n) => !Number.isInteger(n) || n < 1)) {
    throw new RangeError(`interpolate: the result would have size [${target}].`);
  }
  let out = x;
  // The axis that shrinks most goes first, so that the other one has less to do.
  const order = target[0] / x.shape[2] <= target[1] / x.shape[3] ? [2, 3] : [3, 2];
  for (const dim of order) {
    const ratio = scaleFactor === undefined ? undefined : 1 / scaleFactor;
    out = resizeAxis(out, dim, target[dim - 2], mode, antialias, ratio);
  }
  return out;
}

/** Bands by their parameters: a graph is built anew more often than sizes change. */
const bands = new Map<string, Band>();

function bandOf(...parameters: Parameters<typeof resizeBand>): Band {
  const key = parameters.join(" ");
  let band = bands.get(key);
  if (!band) bands.set(key, band = resizeBand(...parameters));
  return band;
}

function resizeAxis(
  x: Tensor,
  dim: number,
  length: number,
  mode: ResampleMode,
  antialias: boolean,
  ratio: number | undefined,
): Tensor {
  const size = x.shape[dim];
  const band = bandOf(size, length, mode, antialias, ratio);
  if (isIdentity(band, size)) return x;
  const view = [numel(x.shape.slice(0, dim)), size, numel(x.shape.slice(dim + 1))];
  const out = resample(reshape(x, view), band);
  return reshape(out, x.shape.map((n, i) => i === dim ? length : n));
}
