/** Batch normalisation over batch and space. */
import { raised } from "../autocast.ts";
import { show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { add, detach, mul, rsqrt, square, sub } from "./elementwise.ts";
import { reshape } from "./movement.ts";
import { mean } from "./statistics.ts";

/** Statistics per channel. */
export interface RunningStats {
  /** Means, [C]. */
  readonly mean: Tensor;
  /** Variances, [C]. */
  readonly variance: Tensor;
}

/** Options of {@link batchNorm2d}. */
export interface BatchNormOptions {
  /** Normalise with the statistics of this batch and move the running ones towards them. */
  readonly training: boolean;
  /** Share of the batch in the moved running statistics, 0.1 where left out. */
  readonly momentum?: number;
  /** Added to variances, 1e-5 where left out. */
  readonly eps?: number;
}

/**
 * Normalises each channel of [B, C, H, W] and applies weight and bias [C].
 *
 * @returns the result, and the running statistics after it (those given, when not training). The
 * normalisation takes the biased variance, the running one the unbiased, as in PyTorch.
 * @throws {RangeError} where shapes do not fit, or when training on one value per channel.
 */
export function batchNorm2d(
  values: Tensor,
  weight: Tensor,
  bias: Tensor,
  running: RunningStats,
  { training, momentum = 0.1, eps = 1e-5 }: BatchNormOptions,
): { out: Tensor; running: RunningStats } {
  const x = raised(values);
  const [batch, channels, height, width] = x.shape;
  const vectors = [weight, bias, running.mean, running.variance];
  if (x.rank !== 4 || vectors.some((v) => v.rank !== 1 || v.size !== channels)) {
    throw new RangeError(
      `batchNorm2d: weight, bias, mean and variance of ${
        vectors.map((v) => show(v.shape)).join(", ")
      } do not fit ${show(x.shape)} as [B, C, H, W].`,
    );
  }
  const perChannel = (v: Tensor) => reshape(v, [1, channels, 1, 1]);
  const apply = (center: Tensor, variance: Tensor) => {
    const scale = mul(rsqrt(add(variance, eps)), perChannel(weight));
    return add(mul(sub(x, center), scale), perChannel(bias));
  };
  if (!training) {
    return { out: apply(perChannel(running.mean), perChannel(running.variance)), running };
  }
  const count = batch * height * width;
  if (count < 2) throw new RangeError("batchNorm2d: training needs two values per channel.");
  const center = mean(x, [0, 2, 3], true);
  const variance = mean(square(sub(x, center)), [0, 2, 3], true);
  const move = (old: Tensor, now: Tensor) =>
    add(mul(old, 1 - momentum), mul(detach(reshape(now, [channels])), momentum));
  return {
    out: apply(center, variance),
    running: {
      mean: move(running.mean, center),
      variance: move(running.variance, mul(variance, count / (count - 1))),
    },
  };
}
