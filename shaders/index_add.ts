/** Sums of rows by an index, gathered: no atomics, always in the order of the index. */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import { type Epilogue, grid1d, IDENTITY, type Lowering, storage } from "./kernel.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import linksSource from "./index_add_links.wgsl" with { type: "text" };
import source from "./index_add.wgsl" with { type: "text" };

/**
 * in0: g [outer, count, inner], in1: index u32 [count]; out0: [outer, size, inner], whose row n is the
 * sum of the rows j of g with index[j] = n. Entries that name no row are left out.
 */
export function lowerIndexAdd(
  { outer, size, inner: width }: AxisView,
  count: number,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const V = width % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const inner = width / V;
  const values = outer * size * inner;
  const linksGrid = grid1d(Math.ceil((size + count) / 64), profile.maxGrid);
  const links = expand(linksSource, {
    ...{ size, count },
    gridX: linksGrid[0],
    declarations: [storage(0, "index", "u32"), storage(1, "links", "u32")].join("\n"),
  });
  const grid = grid1d(Math.ceil(values / 64), profile.maxGrid);
  const sums = expand(source, {
    ...{ size, count, inner, values, T, V, epilogue },
    gridX: grid[0],
    declarations: [
      storage(0, "g", T),
      storage(1, "links", "u32"),
      storage(2, "out", T),
      epilogue.declarations(3),
    ].join("\n"),
  });
  const label = `indexAdd ${outer}x${count}x${width} to ${size}`;
  requireRounds(label, count + 1, profile);
  return {
    scratch: [(size + count) * 4],
    steps: [
      {
        kernel: { label: `${label}, links`, source: links, grid: linksGrid },
        args: ["in1", "tmp0"],
      },
      { kernel: { label, source: sums, grid }, args: ["in0", "tmp0", "out0", "epilogue"] },
    ],
  };
}
