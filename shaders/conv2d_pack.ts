/** Rearrangement of convolution weights before the kernels that read them. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Arg, declareSizes, grid1d, type Step, storage } from "./kernel.ts";
import { convLabel, type ConvShape, convSizes } from "./conv2d_shape.ts";
import { division } from "./quotient.ts";
import { expand } from "./template.ts";
import source from "./conv2d_pack.wgsl" with { type: "text" };

/** What to make of the weights. */
export interface Packing {
  /**
   * Filters of a tile (a multiple of 4), innermost in the result, where missing ones are zeros; 0 keeps
   * the usual order.
   */
  readonly tileFilters: number;
  /**
   * The weights are those of the convolution whose input gradient `shape` computes (see `turned`):
   * taps are reversed, filters and channels exchanged.
   */
  readonly turn: boolean;
}

/** Elements of the packed weights. */
export function packedSize(shape: ConvShape, tileFilters: number): number {
  const { groupFilters, groupChannels, taps } = convSizes(shape);
  const perGroup = tileFilters ? Math.ceil(groupFilters / tileFilters) * tileFilters : groupFilters;
  return shape.groups * perGroup * groupChannels * taps;
}

/** The dispatch that packs weights `from` for the convolution `shape` into `to`. */
export function packWeights(
  shape: ConvShape,
  { tileFilters, turn }: Packing,
  from: Arg,
  to: Arg,
  profile: AdapterProfile,
): Step {
  const of = convSizes(shape);
  const count = packedSize(shape, tileFilters) / (tileFilters ? 4 : 1);
  const workgroup = 64;
  const grid = grid1d(Math.ceil(count / workgroup), profile.maxGrid);
  const { taps, groupChannels, groupFilters } = of;
  const unit = tileFilters ? tileFilters / 4 : 1;
  const filterTiles = tileFilters ? Math.ceil(groupFilters / tileFilters) : groupFilters;
  const divided = division(count);
  const sizes = {
    ...{ gridWidth: grid[0], count, taps, groupChannels, groupFilters, filterTiles },
    perTap: divided.size(taps),
    perChannel: divided.size(groupChannels),
    perSection: divided.size(filterTiles),
  };
  const code = expand(source, {
    bindings: storage(0, "weights") + storage(1, "result", tileFilters ? "vec4f" : "f32"),
    sizes: `${declareSizes(sizes)}\n${divided.declaration}`,
    divided: divided.of,
    workgroup,
    turn,
    tileFilters,
    unit,
  });
  const label = convLabel("pack weights", shape);
  return { kernel: { label, source: code, grid, sizes }, args: [from, to] };
}
