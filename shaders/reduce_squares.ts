/** The norm of all gradients, and the factor that clips it. */
import type { AdapterProfile } from "../engine/device.ts";
import { grid1d, type Lowering, type Step, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import source from "./reduce_squares.wgsl" with { type: "text" };

/** Values (or vec4) that a workgroup sums up. */
const SPAN = 4096;
const TEAM = 64;

/**
 * The norm over windows of `counts` values. in0, in1 …: the windows; the input after them: the largest
 * norm allowed [1]; out0: min(1, largest / (norm + 1e-6)), as torch.nn.utils.clip_grad_norm_, and the
 * norm [2]. Always the same bits for the same values.
 */
export function lowerSumSquares(counts: readonly number[], profile: AdapterProfile): Lowering {
  const steps: Step[] = [];
  let total = 0;
  for (const [window, values] of counts.entries()) {
    const T = values % 4 === 0 ? "vec4f" : "f32";
    const count = T === "vec4f" ? values / 4 : values;
    const spans = Math.ceil(count / SPAN);
    const grid = grid1d(spans, profile.maxGrid);
    const text = expand(source, {
      ...{ last: false, TEAM: profile.class === "cpu" ? 8 : TEAM, SPAN, T, count, spans },
      ...{ base: total, gridX: grid[0] },
      declarations: [storage(0, "x", T), storage(1, "sums")].join("\n"),
    });
    const kernel = { label: `sumSquares ${values}`, source: text, grid };
    steps.push({ kernel, args: [`in${window}`, "tmp0"] });
    total += spans;
  }
  const last = expand(source, {
    ...{ last: true, TEAM, SPAN, T: "f32", count: 0, spans: total, base: 0, gridX: 1 },
    declarations: [storage(0, "sums"), storage(1, "limit"), storage(2, "out")].join("\n"),
  });
  steps.push({
    kernel: { label: `sumSquares, last ${total}`, source: last, grid: [1, 1, 1] },
    args: ["tmp0", `in${counts.length}`, "out0"],
  });
  return { scratch: [total * 4], steps };
}
