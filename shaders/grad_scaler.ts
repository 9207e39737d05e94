/** Dynamic loss scaling (Micikevicius et al. 2018, as torch.amp.GradScaler), decided on the device. */
import { type Lowering, storage } from "./kernel.ts";
import { f32 } from "./literal.ts";
import { expand } from "./template.ts";
import source from "./grad_scaler.wgsl" with { type: "text" };

/** f32 values of the scaler's buffer: scale, steps since it changed, updates taken, updates skipped. */
export const SCALER_STATE = 4;

/** Bounds of the scale: it, and its reciprocal, stay normal numbers. */
const [LEAST, MOST] = [2 ** -100, 2 ** 100];

/** How the scale changes. */
export interface ScalerRule {
  /** Factor after `interval` updates in a row. */
  readonly growth: number;
  /** Factor after gradients that are not finite. */
  readonly backoff: number;
  /** Updates in a row after which the scale grows. */
  readonly interval: number;
}

/**
 * Decides about an update whose gradients are those of a loss times the scale.
 *
 * Changed in place: out0: [factor, norm, skip] as `lowerSumSquares` leaves the first two; factor and
 * norm then leave the scale out, and skip is 1 where the norm is not finite. out1: the scaler's buffer
 * ({@link SCALER_STATE}). Read: in0: the largest norm [1], 0 for no limit.
 */
export function lowerGradScaler({ growth, backoff, interval }: ScalerRule): Lowering {
  const declarations = ["clip", "state", "maximum"].map((name, i) => storage(i, name)).join("\n");
  const rule = { growth, backoff, interval, least: LEAST, most: MOST };
  return {
    steps: [{
      kernel: {
        label: "grad scaler",
        source: expand(source, { declarations, f32, ...rule }),
        grid: [1, 1, 1],
      },
      args: ["out0", "out1", "in0"],
    }],
  };
}
