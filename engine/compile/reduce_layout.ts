/** What a generated reduction walks over, and how it is cut into pieces. */
import type { AdapterProfile } from "../device.ts";
import { type Shape, show } from "../shape.ts";
import { keepsOrder, type Root } from "./fuse.ts";

/** The dimensions of a reduction. */
export interface Layout {
  /** Dimensions that are walked over: the input's, or neighbours of it joined. */
  readonly shape: Shape;
  readonly reduced: readonly number[];
  readonly outputs: number;
  /** Last dimension longer than 1: the one along which vectors may run. */
  readonly last: number;
}

/** The layout of a `reduce` root. */
export function layoutOf(root: Root): Layout {
  const input = root.node.inputs[0];
  const inputs = root.companion ? [input, root.companion.node.inputs[0]] : [input];
  const attributes = root.node.tensor.attributes as { dims?: readonly number[]; dim?: number };
  const reduced = attributes.dims ?? [attributes.dim!];
  const own = { shape: input.shape, reduced };
  const joins = inputs.every((x) => keepsOrder(x, root.leaves)) &&
    reduced.some((d) => input.shape[d] > 1);
  const layout = joins ? joinNeighbours(own) : own;
  const last = layout.shape.findLastIndex((size) => size > 1);
  return { ...layout, outputs: root.node.size, last: Math.max(last, 0) };
}

/** Joins neighbouring dimensions that are alike: fewer loops, and texts that more shapes share. */
function joinNeighbours({ shape, reduced }: Pick<Layout, "shape" | "reduced">) {
  const joined: { size: number; reduced: boolean }[] = [];
  shape.forEach((size, d) => {
    const last = joined.at(-1);
    if (size === 1) return;
    if (last?.reduced === reduced.includes(d)) last.size *= size;
    else joined.push({ size, reduced: reduced.includes(d) });
  });
  return {
    shape: joined.map(({ size }) => size),
    reduced: joined.flatMap((dim, d) => dim.reduced ? [d] : []),
  };
}

/** Elements (or vectors) along a dimension. */
export const extentOf = ({ shape, last }: Layout, dim: number, width: 1 | 4) =>
  width === 4 && dim === last ? shape[dim] / 4 : shape[dim];

/** Elements (or vectors) that make up one result. */
const termsOf = (layout: Layout, width: 1 | 4) =>
  layout.reduced.reduce((n, dim) => n * extentOf(layout, dim, width), 1);

/** How the longest reduced dimension is cut, one piece an invocation. */
export interface Split {
  readonly dim: number;
  readonly pieces: number;
  readonly chunk: number;
}

/**
 * Invocations that should have work, the least terms of one, and the terms of a result from which on a
 * second dispatch costs less than it saves.
 */
const BUSY = {
  cpu: { threads: 64, terms: 1024, worth: 4096 },
  gpu: { threads: 8192, terms: 16, worth: 32 },
};

/**
 * Terms of one invocation at most: llvmpipe leaves the loops of an invocation after 65,535 rounds, those
 * of outer loops included, without a word.
 */
export const MAX_TERMS = 2 ** 15;

/** Cuts a reduction so that `threads` results keep the adapter busy, and no loop is too long. */
export function splitOf(
  layout: Layout,
  width: 1 | 4,
  threads: number,
  profile: AdapterProfile,
): Split {
  const extent = (dim: number) => extentOf(layout, dim, width);
  const dim = layout.reduced.reduce((a, b) => extent(b) > extent(a) ? b : a);
  const busy = BUSY[profile.class];
  const terms = termsOf(layout, width);
  const most = Math.floor(MAX_TERMS * extent(dim) / terms);
  if (most === 0) {
    throw new RangeError(
      `A reduction of ${show(layout.shape)} over dimensions ${show(layout.reduced)} is too long: ` +
        "reduce them one after the other.",
    );
  }
  const useful = terms < busy.worth ? 1 : Math.floor(terms / busy.terms);
  const wanted = Math.ceil(busy.threads / threads);
  const even = Math.ceil(extent(dim) / Math.max(1, Math.min(extent(dim), useful, wanted)));
  const chunk = Math.min(most, even);
  return { dim, pieces: Math.ceil(extent(dim) / chunk), chunk };
}
