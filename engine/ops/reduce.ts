/** Reductions over dimensions. What they read fuses into them, and what follows into their store. */
import { raised } from "../autocast.ts";
import type { Gradient } from "../rule.ts";
import { dimension, numel, sameShape, type Shape } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";

/** Dimensions to reduce: one, several, or all where left out. */
export type Dims = number | readonly number[] | undefined;

function resolve(x: Tensor, dims: Dims, op: string): number[] {
  if (dims === undefined) return x.shape.map((_, i) => i);
  const list = typeof dims === "number" ? [dims] : dims;
  return [...new Set(list.map((d) => dimension(d, x.rank, op)))].sort((a, b) => a - b);
}

const kept = (shape: Shape, dims: readonly number[]) =>
  shape.map((size, i) => dims.includes(i) ? 1 : size);

/** A view of `x` in `shape`; movement.ts builds on this file, so the node is made here. */
function view(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : node("reshape", {}, [x], shape);
}

/** Terms that kernels can add up beside those of the longest dimension: their loops have an end. */
const MOST_BESIDE = 2 ** 15;

/** `x` with the dimensions `over` joined to one at its end. */
function joinedLast(x: Tensor, over: readonly number[]): Tensor {
  const rest = x.shape.flatMap((_, d) => over.includes(d) ? [] : [d]);
  const order = [...rest, ...over];
  const moved = order.every((d, i) => d === i)
    ? x
    : node("permute", { dims: order }, [x], order.map((d) => x.shape[d]));
  return view(moved, [...rest.map((d) => x.shape[d]), numel(over.map((d) => x.shape[d]))]);
}

function reduce(op: "sum" | "amax", x: Tensor, dims: Dims, keepdim: boolean): Tensor {
  const over = resolve(x, dims, op);
  const sizes = x.shape.filter((size, d) => size !== 1 && over.includes(d));
  const effective = over.filter((d) => x.shape[d] !== 1);
  const beside = numel(sizes) / sizes.reduce((a, b) => Math.max(a, b), 1);
  const shape = kept(x.shape, over);
  const reduced = (x: Tensor, dims: readonly number[]) =>
    node(op, { dims }, [x], x.shape.map((size, d) => dims.includes(d) ? 1 : size));
  const out = effective.length === 0
    ? x
    : beside <= MOST_BESIDE
    ? reduced(x, effective)
    : reduced(joinedLast(x, effective), [x.rank - effective.length]);
  return view(out, keepdim ? shape : x.shape.filter((_, i) => !over.includes(i)));
}

/** Sum over dimensions (all where left out). */
export function sum(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  return reduce("sum", raised(x), dims, keepdim);
}

/** Largest value over dimensions; ties share the gradient evenly, as in PyTorch. */
export function amax(x: Tensor, dims?: Dims, keepdim = false): Tensor {
  return reduce("amax", x, dims, keepdim);
}

/** Index (u32) of the first largest value along a dimension. */
export function argmax(x: Tensor, dim: number, keepdim = false): Tensor {
  const d = dimension(dim, x.rank, "argmax");
  const out = node("argmax", { dim: d }, [x], kept(x.shape, [d]), "u32");
  return keepdim ? out : view(out, x.shape.filter((_, i) => i !== d));
}

/** Sums broadcast dimensions away so that `g` gets `shape` (of the same rank, or lower). */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const lead = g.rank - shape.length;
  const dims = g.shape.flatMap((size, i) =>
    i < lead || (shape[i - lead] === 1 && size !== 1) ? [i] : []
  );
  if (dims.length === 0) return g;
  return view(sum(g, dims, true), shape);
}

/** Number of elements that a reduction over `dims` joins. */
export function reducedCount(x: Tensor, dims: Dims): number {
  return numel(resolve(x, dims, "mean").map((d) => x.shape[d]));
}

const broadcastBack = (g: Tensor, shape: Shape): Tensor =>
  sameShape(g.shape, shape) ? g : node("expand", {}, [g], shape);

/** Gradients of the reductions. */
export const reduceGradients = {
  sum: ((n, g) => [broadcastBack(g, n.inputs[0].shape)]) as Gradient<"sum">,
  amax: ((n, g) => {
    const x = n.inputs[0];
    const hit = node("eq", {}, [x, broadcastBack(n, x.shape)], x.shape, "f32");
    const share = node("div", {}, [g, sum(hit, n.attributes.dims, true)], g.shape);
    return [node("mul", {}, [hit, broadcastBack(share, x.shape)], x.shape)];
  }) as Gradient<"amax">,
  argmax: (() => [undefined]) as Gradient<"argmax">,
};
