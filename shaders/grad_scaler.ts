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

/** Steps after which the correction of a moment that decays by `beta` is 1 in f32. */
const correctedSteps = (beta: number) => Math.max(1, Math.ceil(25 * Math.LN2 / -Math.log(beta)));

/** The corrections of both moments, 1 - beta^step for step 1, 2, … until they are 1: one table, then the other. */
export function correctionTable(betas: readonly [number, number]): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    betas.flatMap((beta) =>
      Array.from({ length: correctedSteps(beta) }, (_, i) => 1 - beta ** (i + 1))
    ),
  );
}

/**
 * Decides about an update whose gradients are those of a loss times the scale.
 *
 * Changed in place: out0: [factor, norm, skip] as `lowerSumSquares` leaves the first two; factor and
 * norm then leave the scale out, and skip is 1 where the norm is not finite. out1: the scaler's buffer
 * ({@link SCALER_STATE}). out2: hyper-parameters, of which the corrections of both moments become those
 * of the updates taken. Read: in0: the largest norm [1], 0 for no limit; in1: {@link correctionTable}.
 */
export function lowerGradScaler(
  { growth, backoff, interval }: ScalerRule,
  betas: readonly [number, number],
): Lowering {
  const [first, second] = betas.map(correctedSteps);
  const names = ["clip", "state", "hyper", "maximum", "corrections"];
  const declarations = names.map((name, i) => storage(i, name)).join("\n");
  const rule = { growth, backoff, interval, least: LEAST, most: MOST };
  const text = expand(source, { declarations, f32, first, second, ...rule });
  return {
    steps: [{
      kernel: { label: "grad scaler", source: text, grid: [1, 1, 1] },
      args: ["out0", "out1", "out2", "in0", "in1"],
    }],
  };
}
