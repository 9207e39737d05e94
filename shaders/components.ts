/** Connected components of windows of binary volumes. */
import type { AdapterProfile } from "../engine/device.ts";
import { declareSizes, grid1d, type Kernel, type Lowering, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import rowsSource from "./components_rows.wgsl" with { type: "text" };
import unionSource from "./components_union.wgsl" with { type: "text" };

/** Sizes of a labelling. */
export interface ComponentsShape {
  /** Number of windows. */
  readonly windows: number;
  /** Slices of the longest window. */
  readonly maxLength: number;
  /** Slices of each volume of the mask. */
  readonly depth: number;
  readonly height: number;
  readonly width: number;
  /** Neighbours of a voxel: those that share a face, or also those that share an edge or a corner. */
  readonly connectivity: 6 | 26;
}

/**
 * in0: mask u32 [V, depth, height, width] of 0 and other values; in1: windows u32 [W, 3] (volume, first
 * slice, number of slices); out0: labels u32 [W, maxLength, height, width]: 0 where the mask is 0 or the
 * window has ended, else 1 + the smallest index, within the window, of a voxel of the component.
 *
 * Runs of a row come first, then a union-find joins them with integer minima (Komura 2015): three
 * dispatches, and a result that does not depend on their order.
 */
export function lowerComponents(shape: ComponentsShape, profile: AdapterProfile): Lowering {
  const { windows, maxLength: length, depth, height, width, connectivity } = shape;
  const voxels = length * height * width;
  const label = `components ${windows}x${length}x${height}x${width}`;
  const rowGrid = grid1d(Math.ceil(windows * length * height / 64), profile.maxGrid);
  // Searches for prompts differ in their windows: what is baked would be compiled anew in each.
  const rowSizes = {
    ...{ gridWidth: rowGrid[0], rows: windows * length * height, windowRows: length * height },
    ...{ depth, height, width },
  };
  const rows: Kernel = {
    label: `${label}, rows`,
    source: expand(rowsSource, {
      sizes: declareSizes(rowSizes),
      declarations: [
        storage(0, "mask", "u32"),
        storage(1, "windowTable", "u32"),
        storage(2, "labels", "u32"),
      ].join("\n"),
    }),
    grid: rowGrid,
    sizes: rowSizes,
  };
  const grid = grid1d(Math.ceil(windows * voxels / 64), profile.maxGrid);
  const sizes = { gridWidth: grid[0], count: windows * voxels, voxels, height, width };
  const union = (flatten: boolean): Kernel => ({
    label: `${label}, ${flatten ? "flatten" : "join"}`,
    source: expand(unionSource, {
      ...{ connectivity, flatten },
      sizes: declareSizes(sizes),
      declarations: storage(0, "labels", "atomic<u32>"),
    }),
    grid,
    sizes,
  });
  return {
    steps: [
      { kernel: rows, args: ["in0", "in1", "out0"] },
      { kernel: union(false), args: ["out0"] },
      { kernel: union(true), args: ["out0"] },
    ],
  };
}
