/** Strong views: brightness, contrast and blur, each image with its own amounts. */
import {
  add,
  clamp,
  mean,
  mul,
  padZeros,
  reshape,
  select,
  slice,
  sub,
  type Tensor,
} from "../../engine/mod.ts";
import type { Random } from "../data/random.ts";

/** Taps of the blur. */
const TAPS = 9;

/** Amounts per image: brightness factor, contrast factor, then the blur's weights. */
export const PHOTOMETRIC_VALUES = 2 + TAPS;

/** How strong the changes are and how often they happen. */
export interface PhotometricOptions {
  readonly brightness: number;
  readonly contrast: number;
  readonly jitterProbability: number;
  readonly blurProbability: number;
  /** Range of the blur's standard deviation, pixels. */
  readonly blurSigma: readonly [number, number];
}

/** UniMatch's medical recipe (grey images have neither saturation nor hue). */
export const PHOTOMETRIC: PhotometricOptions = {
  brightness: 0.5,
  contrast: 0.5,
  jitterProbability: 0.8,
  blurProbability: 0.5,
  blurSigma: [0.1, 2],
};

/** Draws the amounts of one image. */
export function drawPhotometric(random: Random, options = PHOTOMETRIC): Float32Array {
  const values = new Float32Array(PHOTOMETRIC_VALUES);
  const jitter = random.uniform() < options.jitterProbability;
  const [b, c] = [random.uniform(), random.uniform()].map((u) => 2 * u - 1);
  values[0] = jitter ? 1 + options.brightness * b : 1;
  values[1] = jitter ? 1 + options.contrast * c : 1;
  const blur = random.uniform() < options.blurProbability;
  const [low, high] = options.blurSigma;
  const sigma = blur ? low + (high - low) * random.uniform() : 0;
  const weights = Array.from({ length: TAPS }, (_, i) => {
    const d = i - (TAPS - 1) / 2;
    return sigma > 0 ? Math.exp(-d * d / (2 * sigma * sigma)) : d === 0 ? 1 : 0;
  });
  const total = weights.reduce((a, w) => a + w, 0);
  weights.forEach((w, i) => values[2 + i] = w / total);
  return values;
}

/**
 * @param x intensities in [0, 1], [B, 1, H, W].
 * @param amounts f32 [B, {@link PHOTOMETRIC_VALUES}], a row from {@link drawPhotometric} each.
 */
export function photometric(x: Tensor, amounts: Tensor): Tensor {
  const value = (i: number) => reshape(select(amounts, 1, i), [x.shape[0], 1, 1, 1]);
  const bright = clamp(mul(x, value(0)), 0, 1);
  const centre = mean(bright, [1, 2, 3], true);
  const jittered = clamp(add(mul(sub(bright, centre), value(1)), centre), 0, 1);
  return blur(blur(jittered, value, 2), value, 3);
}

function blur(x: Tensor, value: (i: number) => Tensor, dim: number): Tensor {
  const reach = (TAPS - 1) / 2;
  const padded = padZeros(x, x.shape.map((_, i) => i === dim ? [reach, reach] : [0, 0]));
  let out: Tensor | undefined;
  for (let t = 0; t < TAPS; t++) {
    const term = mul(slice(padded, dim, t, t + x.shape[dim]), value(2 + t));
    out = out ? add(out, term) : term;
  }
  return out!;
}
