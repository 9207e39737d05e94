/** Ops that move elements without computing. They fuse into the kernels that read them. */
import { promoted } from "../autocast.ts";
import { isFloat } from "../dtype.ts";
import type { Gradient } from "../rule.ts";
import { axisView, dimension, numel, requireWhole, sameShape, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";

/**
 * The same elements in another shape; one size may be -1.
 *
 * @throws {RangeError} where the sizes do not fit.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  let target = [...shape];
  const open = target.indexOf(-1);
  if (open >= 0) {
    const rest = numel(target.filter((_, i) => i !== open));
    target = target.map((size, i) => i === open ? x.size / rest : size);
  }
  if (numel(target) !== x.size || target.some((size) => !Number.isInteger(size) || size < 0)) {
    throw new RangeError(`reshape: ${show(x.shape)} does not fit ${show(shape)}.`);
  }
  return sameShape(target, x.shape) ? x : node("reshape", {}, [x], target);
}

/** Reorders dimensions: output dimension i is input dimension `dims[i]`. */
export function permute(x: Tensor, dims: readonly number[]): Tensor {
  const order = dims.map((d) => dimension(d, x.rank, "permute"));
  if (order.length !== x.rank || new Set(order).size !== x.rank) {
    throw new RangeError(`permute: [${dims}] does not reorder the dimensions of ${show(x.shape)}.`);
  }
  const longer = order.filter((d) => x.shape[d] !== 1);
  // Where only dimensions of size 1 move, the elements stay where they are.
  if (longer.every((d, i) => i === 0 || longer[i - 1] < d)) {
    return reshape(x, order.map((d) => x.shape[d]));
  }
  return node("permute", { dims: order }, [x], order.map((d) => x.shape[d]));
}

/** Swaps two dimensions. */
export function transpose(x: Tensor, a: number, b: number): Tensor {
  const dims = x.shape.map((_, i) => i);
  const [i, j] = [dimension(a, x.rank, "transpose"), dimension(b, x.rank, "transpose")];
  [dims[i], dims[j]] = [dims[j], dims[i]];
  return permute(x, dims);
}

/** Repeats dimensions of size 1 (and missing leading ones); -1 keeps a size. */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.rank;
  const target = shape.map((size, i) => size === -1 ? x.shape[i - lead] : size);
  if (sameShape(target, x.shape)) return x;
  if (lead < 0 || x.shape.some((size, i) => size !== 1 && size !== target[i + lead])) {
    throw new RangeError(`expand: ${show(x.shape)} does not expand to ${show(shape)}.`);
  }
  const aligned = reshape(x, [...new Array<number>(lead).fill(1), ...x.shape]);
  return sameShape(target, aligned.shape) ? aligned : node("expand", {}, [aligned], target);
}

/** Removes a dimension of size 1. */
export function squeeze(x: Tensor, dim: number): Tensor {
  const d = dimension(dim, x.rank, "squeeze");
  if (x.shape[d] !== 1) {
    throw new RangeError(`squeeze: dimension ${dim} of ${show(x.shape)} is not 1.`);
  }
  return reshape(x, x.shape.filter((_, i) => i !== d));
}

/** Inserts a dimension of size 1. */
export function unsqueeze(x: Tensor, dim: number): Tensor {
  const d = dimension(dim, x.rank + 1, "unsqueeze");
  return reshape(x, [...x.shape.slice(0, d), 1, ...x.shape.slice(d)]);
}

/** Merges dimensions `start` to `end` (inclusive). */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  const [a, b] = [dimension(start, x.rank, "flatten"), dimension(end, x.rank, "flatten")];
  const merged = numel(x.shape.slice(a, b + 1));
  return reshape(x, [...x.shape.slice(0, a), merged, ...x.shape.slice(b + 1)]);
}

/** Elements `start`, `start + step`, … below `end` of one dimension; negative bounds count from its end. */
export function slice(x: Tensor, dim: number, start: number, end?: number, step = 1): Tensor {
  const d = dimension(dim, x.rank, "slice");
  const size = x.shape[d];
  const bound = (v: number) => Math.min(Math.max(v < 0 ? v + size : v, 0), size);
  const [from, to] = [bound(start), bound(end ?? size)];
  requireWhole("slice", "the step", step);
  requireWhole("slice", "a bound", [start, end ?? size], -Infinity);
  const length = Math.max(0, Math.ceil((to - from) / step));
  if (length === 0) {
    throw new RangeError(
      `slice: [${start}, ${end}) of dimension ${dim} of ${show(x.shape)} is empty.`,
    );
  }
  if (length === size) return x;
  const starts = x.shape.map((_, i) => i === d ? from : 0);
  const steps = x.shape.map((_, i) => i === d ? step : 1);
  const shape = x.shape.map((s, i) => i === d ? length : s);
  return node("slice", { start: starts, step: steps }, [x], shape);
}

/**
 * `length` elements of one dimension from `start`, which counts from its end where it is negative.
 *
 * @throws {RangeError} where the dimension does not have them.
 */
export function narrow(x: Tensor, dim: number, start: number, length: number): Tensor {
  return within(x, dim, start, length, "narrow");
}

/**
 * One element of a dimension, which is removed; a negative index counts from its end.
 *
 * @throws {RangeError} where the dimension does not have it.
 */
export function select(x: Tensor, dim: number, index: number): Tensor {
  return squeeze(within(x, dim, index, 1, "select"), dim);
}

function within(x: Tensor, dim: number, start: number, length: number, op: string): Tensor {
  const d = dimension(dim, x.rank, op);
  const from = start < 0 ? start + x.shape[d] : start;
  if (!Number.isInteger(from) || from < 0 || !(length >= 1) || from + length > x.shape[d]) {
    throw new RangeError(
      `${op}: dimension ${dim} of ${
        show(x.shape)
      } does not have ${length} element(s) from ${start}.`,
    );
  }
  return slice(x, d, from, from + length);
}

/** Reverses dimensions. */
export function flip(x: Tensor, dims: readonly number[]): Tensor {
  const flipped = new Set(dims.map((d) => dimension(d, x.rank, "flip")));
  const start = x.shape.map((size, i) => flipped.has(i) ? size - 1 : 0);
  const step = x.shape.map((_, i) => flipped.has(i) ? -1 : 1);
  return node("slice", { start, step }, [x], x.shape);
}

/** Splits a dimension into parts of the given sizes. */
export function split(x: Tensor, sizes: readonly number[], dim: number): Tensor[] {
  const d = dimension(dim, x.rank, "split");
  if (sizes.reduce((a, b) => a + b, 0) !== x.shape[d]) {
    throw new RangeError(
      `split: sizes [${sizes}] do not add up to dimension ${dim} of ${show(x.shape)}.`,
    );
  }
  let at = 0;
  return sizes.map((size) => narrow(x, d, (at += size) - size, size));
}

/** Zeros before and after each dimension: one `[before, after]` per dimension, all not negative. */
export function padZeros(x: Tensor, amounts: readonly (readonly [number, number])[]): Tensor {
  if (amounts.length !== x.rank) {
    throw new RangeError(`pad: ${amounts.length} amounts for a tensor of shape ${show(x.shape)}.`);
  }
  const [before, after] = [amounts.map((a) => a[0]), amounts.map((a) => a[1])];
  if ([...before, ...after].every((a) => a === 0)) return x;
  if ([...before, ...after].some((a) => a < 0)) {
    throw new RangeError("pad: amounts must not be negative.");
  }
  const shape = x.shape.map((size, i) => before[i] + size + after[i]);
  return node("pad", { before, after }, [x], shape);
}

/**
 * Joins tensors along a dimension.
 *
 * @throws {RangeError} where there is none, or they differ in type or in another dimension.
 */
export function cat(tensors: readonly Tensor[], dim: number): Tensor {
  if (tensors.length === 0) throw new RangeError("cat: there is no tensor to join.");
  const parts = promoted(tensors);
  const first = parts[0];
  const d = dimension(dim, first.rank, "cat");
  for (const part of parts) {
    const fits = part.rank === first.rank && part.dtype === first.dtype &&
      part.shape.every((size, i) => i === d || size === first.shape[i]);
    if (!fits) {
      throw new RangeError(
        `cat: ${part.dtype} ${show(part.shape)} does not join ${first.dtype} ${
          show(first.shape)
        } along ${dim}.`,
      );
    }
  }
  if (parts.length === 1) return first;
  const total = parts.reduce((n, part) => n + part.shape[d], 0);
  const shape = first.shape.map((size, i) => i === d ? total : size);
  return node("cat", { dim: d }, parts, shape);
}

/** Joins tensors of one shape along a new dimension. */
export function stack(parts: readonly Tensor[], dim: number): Tensor {
  return cat(parts.map((part) => unsqueeze(part, dim)), dim);
}

/** Repeats the whole tensor along each dimension. */
export function tile(x: Tensor, repeats: Shape): Tensor {
  requireWhole("tile", "a number of repeats", repeats);
  const lead = Math.max(0, repeats.length - x.rank);
  const sizes = [...new Array<number>(lead).fill(1), ...x.shape];
  const times = [...new Array<number>(sizes.length - repeats.length).fill(1), ...repeats];
  const spread = reshape(x, sizes.flatMap((size) => [1, size]));
  const wide = expand(spread, sizes.flatMap((size, i) => [times[i], size]));
  return reshape(wide, sizes.map((size, i) => size * times[i]));
}

/** Repeats each element `times` along a dimension. */
export function repeatInterleave(x: Tensor, times: number, dim: number): Tensor {
  const d = dimension(dim, x.rank, "repeatInterleave");
  requireWhole("repeatInterleave", "the number of repeats", times);
  const [before, after] = [x.shape.slice(0, d + 1), x.shape.slice(d + 1)];
  const wide = expand(reshape(x, [...before, 1, ...after]), [...before, times, ...after]);
  return reshape(wide, x.shape.map((size, i) => i === d ? size * times : size));
}

/** Refuses an index that is known on the host and names no row of `size`. @throws {RangeError} */
export function requireRows(op: string, index: Tensor, size: number): void {
  const at = index.host?.findIndex((row: number) => row < 0 || row >= size) ?? -1;
  if (at >= 0) {
    throw new RangeError(`${op}: ${index.host![at]} is not from 0 to ${size - 1}.`);
  }
}

/**
 * Rows `index` (a vector of u32 or i32) of a dimension. An index that was computed and names no row
 * gives NaN, or 0 of whole numbers, and its gradient goes nowhere.
 *
 * @throws {RangeError} where an index from the host names no row.
 */
export function indexSelect(x: Tensor, dim: number, index: Tensor): Tensor {
  const d = dimension(dim, x.rank, "indexSelect");
  if (index.rank !== 1 || isFloat(index.dtype)) {
    throw new TypeError(
      `indexSelect: the index is ${index.dtype} ${show(index.shape)}, not an integer vector.`,
    );
  }
  requireRows("indexSelect", index, x.shape[d]);
  const shape = x.shape.map((size, i) => i === d ? index.size : size);
  return node("indexSelect", { dim: d }, [x, index], shape);
}

/** Zeros between elements so that a step-s slice becomes a plain one. */
function dilate(g: Tensor, dim: number, step: number): Tensor {
  const shape = [...g.shape.slice(0, dim + 1), 1, ...g.shape.slice(dim + 1)];
  const amounts = shape.map((_, i): [number, number] => i === dim + 1 ? [0, step - 1] : [0, 0]);
  const spread = padZeros(reshape(g, shape), amounts);
  const merged = reshape(spread, g.shape.map((size, i) => i === dim ? size * step : size));
  return slice(merged, dim, 0, (g.shape[dim] - 1) * step + 1);
}

const sliceGradient: Gradient<"slice"> = (n, g) => {
  const { start, step } = n.attributes;
  const source = n.inputs[0].shape;
  const flipped = step.flatMap((s, i) => s < 0 ? [i] : []);
  let out = flipped.length > 0 ? flip(g, flipped) : g;
  for (const [i, s] of step.entries()) if (Math.abs(s) > 1) out = dilate(out, i, Math.abs(s));
  return [padZeros(
    out,
    source.map((size, i) => {
      const first = step[i] > 0 ? start[i] : start[i] + step[i] * (n.shape[i] - 1);
      return [first, size - first - out.shape[i]];
    }),
  )];
};

/** Gradients of the movement ops. */
export const movementGradients = {
  reshape: ((n, g) => [reshape(g, n.inputs[0].shape)]) as Gradient<"reshape">,
  permute: ((n, g) => {
    const inverse: number[] = [];
    n.attributes.dims.forEach((d, i) => inverse[d] = i);
    return [permute(g, inverse)];
  }) as Gradient<"permute">,
  expand: ((n, g) => [sumTo(g, n.inputs[0].shape)]) as Gradient<"expand">,
  slice: sliceGradient,
  pad: ((n, g) => {
    const start = n.attributes.before;
    return [node("slice", { start, step: start.map(() => 1) }, [g], n.inputs[0].shape)];
  }) as Gradient<"pad">,
  cat:
    ((n, g) =>
      split(g, n.inputs.map((x) => x.shape[n.attributes.dim]), n.attributes.dim)) as Gradient<
        "cat"
      >,
  indexSelect: ((n, g) => {
    const { dim } = n.attributes;
    const x = n.inputs[0];
    return [node("indexAdd", axisView(x.shape, dim), [g, n.inputs[1]], x.shape), undefined];
  }) as Gradient<"indexSelect">,
  detach: (() => [undefined]) as Gradient<"detach">,
};
