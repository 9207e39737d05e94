/** The norm of all gradients and the factor that clips it (torch.nn.utils.clip_grad_norm_). */
import type { AdapterProfile } from "../engine/device.ts";
import { type Arg, type Lowering, type Step, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import finish from "./reduce_squares_finish.wgsl" with { type: "text" };
import partial from "./reduce_squares_partial.wgsl" with { type: "text" };

const TEAM = 64;
/** Workgroups of one window; each leaves one sum. */
const MAX_GROUPS = { cpu: 64, gpu: 256 };

function partialStep(length: number, first: number, groups: number, input: Arg): Step {
  const V = length % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const declarations = [storage(0, "g", T), storage(1, "partial")].join("\n");
  const parameters = { declarations, V, T, TEAM, count: length / V, groups, first };
  const kernel = {
    label: `squares of ${length}`,
    source: expand(partial, parameters),
    grid: [groups, 1, 1] as const,
  };
  return { kernel, args: [input, "tmp0"] };
}

/**
 * Norm of a vector that lies in one or more windows, and its clipping factor.
 *
 * in0, in1, …: the windows, `lengths[i]` elements each; then the largest norm [1], 0 for no limit.
 * out0: [factor, norm], factor = min(1, maximum / (norm + 1e-6)). Sums run in a fixed order.
 * Where a gradient is not finite, neither is the norm, but the factor may be.
 */
export function lowerSumSquares(
  lengths: number | readonly number[],
  profile: AdapterProfile,
): Lowering {
  const windows = typeof lengths === "number" ? [lengths] : lengths;
  let total = 0;
  const steps = windows.map((length, i) => {
    const groups = Math.min(MAX_GROUPS[profile.class], Math.ceil(length / (TEAM * 4)));
    total += groups;
    return partialStep(length, total - groups, groups, `in${i}`);
  });
  const declarations = [
    storage(0, "partial"),
    storage(1, "maximum"),
    storage(2, "out"),
  ].join("\n");
  const kernel = {
    label: `norm of ${windows.join(" + ")}`,
    source: expand(finish, { declarations, TEAM, count: total }),
    grid: [1, 1, 1] as const,
  };
  steps.push({ kernel, args: ["tmp0", `in${windows.length}`, "out0"] });
  return { scratch: [total * 4], steps };
}
