/** Banded resampling along an axis: interpolation and its gradient. */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import { declareSizes, type Epilogue, grid1d, IDENTITY, type Lowering, storage } from "./kernel.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import source from "./resample.wgsl" with { type: "text" };

const TEAM = 64;
/** Lines that share the table's loads where an invocation would read one value at a time. */
const SHARED_LINES = 4;
/** Taps up to which each number of them has a kernel of its own, without a loop. */
const UNROLLED = 4;

/** A view with the number of outputs along the axis and the weights of each. */
export type ResampleView = AxisView & { readonly length: number; readonly taps: number };

/**
 * in0: x [outer, size, inner], in1: starts i32 [length], in2: weights [length, taps];
 * out0: [outer, length, inner], where row n is the sum of weights[n, t] * x[starts[n] + t].
 */
export function lowerResample(
  view: ResampleView,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const { outer, size, length, taps } = view;
  const V = view.inner % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const inner = view.inner / V;
  const ROWS = view.inner === 1 && outer >= SHARED_LINES ? SHARED_LINES : 1;
  const count = Math.ceil(outer / ROWS) * length * inner;
  const grid = grid1d(Math.ceil(count / TEAM), profile.maxGrid);
  const declarations = [
    storage(0, "x", T),
    storage(1, "starts", "i32"),
    storage(2, "weights"),
    storage(3, "out", T),
    epilogue.declarations(4),
  ].join("\n");
  const sizes = { gridWidth: grid[0], count, outer, size, inner, length, taps };
  const text = expand(source, {
    ...{ V, T, ROWS, TEAM, declarations, epilogue },
    sizes: declareSizes(sizes),
    unrolled: taps <= UNROLLED ? taps : 0,
    ragged: outer % ROWS !== 0,
  });
  const label = `resample ${outer}x${size}x${view.inner} to ${length}, ${taps} taps`;
  requireRounds(label, taps + 1, profile);
  return {
    steps: [{
      kernel: { label, source: text, grid, sizes },
      args: ["in0", "in1", "in2", "out0", "epilogue"],
    }],
  };
}
