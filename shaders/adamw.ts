/** The AdamW update of a flat parameter buffer. */
import type { AdapterProfile } from "../engine/device.ts";
import { grid1d, type Lowering, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import source from "./adamw.wgsl" with { type: "text" };

/** Values that one entry of the block table covers: segments start at multiples of it. */
export const SEGMENT_BLOCK = 64;

/** Places in the buffer of hyper-parameters. The last two are 1 - beta1^t and 1 - beta2^t. */
export const ADAMW_HYPER = ["lr", "beta1", "beta2", "eps", "correction1", "correction2"] as const;

/**
 * One step of AdamW with decoupled decay (Loshchilov and Hutter 2019, as in PyTorch) on a window of
 * `count` values, all updated in place: in0: p, in1: g, in2: m, in3: v; in4: u32, the segment of each
 * {@link SEGMENT_BLOCK} values of the window; in5: a vec4 for each segment (learning-rate scale,
 * weight decay, 1 where it has a gradient, 0): without one, p, m and v stay as they are; in6: the
 * {@link ADAMW_HYPER}; in7: the clip factor that multiplies g.
 *
 * @throws {RangeError} where the window does not end with a block.
 */
export function lowerAdamW(count: number, profile: AdapterProfile): Lowering {
  if (count % SEGMENT_BLOCK !== 0) {
    throw new RangeError(`lowerAdamW: ${count} values are not whole blocks of ${SEGMENT_BLOCK}.`);
  }
  const grid = grid1d(Math.ceil(count / 4 / 64), profile.maxGrid);
  const declarations = [
    ...["p", "g", "m", "v"].map((name, i) => storage(i, name, "vec4f")),
    storage(4, "blocks", "u32"),
    storage(5, "segments", "vec4f"),
    storage(6, "hyper"),
    storage(7, "clip"),
  ].join("\n");
  const text = expand(source, { count: count / 4, gridX: grid[0], declarations });
  return {
    steps: [{
      kernel: { label: `adamw ${count}`, source: text, grid },
      args: ["in0", "in1", "in2", "in3", "in4", "in5", "in6", "in7"],
    }],
  };
}
