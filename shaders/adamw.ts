/** The AdamW update (Loshchilov & Hutter 2019, as torch.optim.AdamW) on flat buffers. */
import type { AdapterProfile } from "../engine/device.ts";
import { grid1d, type Lowering, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import source from "./adamw.wgsl" with { type: "text" };
import counting from "./adamw_steps.wgsl" with { type: "text" };

/** Elements that share an entry of the segment table: segments are made of whole blocks. */
export const ADAMW_BLOCK = 64;
/**
 * f32 values of a row of the segment table, which has two rows for each segment. Those that come from
 * the host are first: learning-rate scale, weight decay, 1 or 0 (skip). Those of the device follow:
 * updates of the segment, 1 - beta1^updates, 1 - beta2^updates.
 */
export const ADAMW_SEGMENT = 3;

/** Values of one step. */
export interface AdamWHyper {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
}

/**
 * The hyper-parameter buffer: lr, beta1, beta2, eps, 1 - beta1, 1 - beta2. Differences are taken in
 * float64: 1 - 0.999 in float32 is off by 1e-5 of itself.
 */
export function adamwHyper(
  { learningRate, beta1, beta2, eps }: AdamWHyper,
): Float32Array<ArrayBuffer> {
  return Float32Array.of(learningRate, beta1, beta2, eps, 1 - beta1, 1 - beta2);
}

/** Updates after which the correction of a moment that decays by `beta` is 1 in f32. */
const correctedSteps = (beta: number) => Math.max(1, Math.ceil(25 * Math.LN2 / -Math.log(beta)));

/** The corrections of both moments, 1 - beta^n for n = 1, 2, … until they are 1: one table, then the other. */
export function correctionTable(betas: readonly [number, number]): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    betas.flatMap((beta) =>
      Array.from({ length: correctedSteps(beta) }, (_, i) => 1 - beta ** (i + 1))
    ),
  );
}

/**
 * Counts an update for each segment that has a gradient, as PyTorch does for each parameter, before
 * {@link lowerAdamW}.
 *
 * Changed in place: out0: the segment table, f32 [2, segments, 3], see {@link ADAMW_SEGMENT}. Read: in0:
 * {@link correctionTable}; with `skips` in1: the clipping, whose third element leaves all as it is
 * where it is not 0.
 */
export function lowerAdamWSteps(
  segments: number,
  betas: readonly [number, number],
  profile: AdapterProfile,
  skips = false,
): Lowering {
  const TEAM = 64;
  const [first, second] = betas.map(correctedSteps);
  const grid = grid1d(Math.ceil(segments / TEAM), profile.maxGrid);
  const names = ["table", "corrections", ...skips ? ["clip"] : []];
  const declarations = names.map((name, i) => storage(i, name)).join("\n");
  const text = expand(counting, {
    ...{ TEAM, segments, first, second },
    ...{ declarations, skips, gridX: grid[0] },
  });
  return {
    steps: [{
      kernel: { label: `adamw steps of ${segments}`, source: text, grid },
      args: ["out0", "in0", ...skips ? ["in1" as const] : []],
    }],
  };
}

/**
 * One update of a window of `length` elements, a multiple of {@link ADAMW_BLOCK}.
 *
 * Changed in place: out0: parameters, out1: first moments, out2: second moments. Read: in0: gradients,
 * in1: the segment of each block, u32 [length / 64]; in2: the segment table, f32 [2, segments, 3], see
 * {@link ADAMW_SEGMENT}; in3: {@link adamwHyper}; in4: the factor that gradients are multiplied with
 * (first element). Segments of which the host's last entry is 0 keep parameters and moments; with
 * `skips` all do where the third element of in4 is not 0.
 *
 * @throws {RangeError} for another length.
 */
export function lowerAdamW(
  length: number,
  segments: number,
  profile: AdapterProfile,
  skips = false,
): Lowering {
  if (length < 1 || length % ADAMW_BLOCK !== 0) {
    throw new RangeError(`adamw: length ${length} is not a positive multiple of ${ADAMW_BLOCK}.`);
  }
  const TEAM = 64;
  const count = length / 4;
  const grid = grid1d(Math.ceil(count / TEAM), profile.maxGrid);
  const declarations = [
    ...["p", "m", "v", "g"].map((name, i) => storage(i, name, "vec4f")),
    storage(4, "blocks", "u32"),
    ...["table", "hyper", "clip"].map((name, i) => storage(5 + i, name)),
  ].join("\n");
  const text = expand(source, {
    ...{ TEAM, count, segments, BLOCK: ADAMW_BLOCK },
    ...{ declarations, skips, gridX: grid[0] },
  });
  return {
    steps: [{
      kernel: { label: `adamw ${length}`, source: text, grid },
      args: ["out0", "out1", "out2", "in0", "in1", "in2", "in3", "in4"],
    }],
  };
}
