/** Running sums along an axis. */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import { type Epilogue, grid1d, IDENTITY, type Lowering, storage } from "./kernel.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import source from "./cumsum.wgsl" with { type: "text" };

const TEAM = 64;

/**
 * in0: x, out0: sums of x along the axis up to and including each element, both shaped as `view`;
 * from the end where `reverse`. A workgroup shares a line where there are few and they are long.
 */
export function lowerCumsum(
  view: AxisView & { readonly reverse: boolean },
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const { outer, size, reverse } = view;
  const V = view.inner % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const inner = view.inner / V;
  const lines = outer * inner;
  const team = lines < TEAM && size >= TEAM;
  const grid = grid1d(team ? lines : Math.ceil(lines / TEAM), profile.maxGrid);
  const declarations = [storage(0, "x", T), storage(1, "out", T), epilogue.declarations(2)];
  const text = expand(source, {
    ...{ size, inner, reverse, lines, team, T, V, TEAM, epilogue },
    CHUNK: Math.ceil(size / TEAM),
    gridX: grid[0],
    declarations: declarations.join("\n"),
  });
  const label = `cumsum ${outer}x${size}x${view.inner}`;
  requireRounds(label, team ? 2 * Math.ceil(size / TEAM) + TEAM + 3 : size + 1, profile);
  return { steps: [{ kernel: { label, source: text, grid }, args: ["in0", "out0", "epilogue"] }] };
}
