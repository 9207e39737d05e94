/** Movement that a kernel follows by strides, so that nothing needs to be copied before it. */
import type { Attributes } from "../attributes.ts";
import type { InputView } from "../rule.ts";
import { type Shape, stridesOf } from "../shape.ts";
import { type GraphNode, strip } from "./graph.ts";

/** A node's elements as they lie in the buffer of another one. */
export interface View extends InputView {
  readonly base: GraphNode;
  /** Whether elements are rounded to f16 as they are read. */
  readonly rounded?: boolean;
}

/** The node itself, one row after another. */
export const plainView = (n: GraphNode): View => ({
  base: n,
  first: 0,
  strides: stridesOf(n.shape),
});

/**
 * The view, or that of what it is rounded from where that is a leaf, a weight most often: it stays in
 * memory, and a copy of it in f16 would too, from its use in the forward pass to that in the backward.
 */
export function roundedView(view: View): View {
  const { base } = view;
  const source = base.op === "cast" && base.dtype === "f16" ? strip(base.inputs[0]) : base;
  return source.op === "leaf" && source.dtype === "f32" && source !== base
    ? { ...view, base: source, rounded: true }
    : view;
}

/** Whether elements of `shape` lie one after another, from the first of the buffer on. */
export function isPlain({ first, strides }: View, shape: Shape): boolean {
  const plain = stridesOf(shape);
  return first === 0 && shape.every((size, d) => size === 1 || strides[d] === plain[d]);
}

/** The strides of `shape` over elements that lie in `from` as `strides` say, where there are any. */
function reshaped(from: Shape, strides: readonly number[], shape: Shape): number[] | undefined {
  // Neighbouring dimensions whose elements follow each other count as one.
  const runs: { size: number; stride: number }[] = [];
  from.forEach((size, d) => {
    if (size === 1) return;
    const last = runs.at(-1);
    if (last && last.stride === size * strides[d]) {
      last.size *= size;
      last.stride = strides[d];
    } else runs.push({ size, stride: strides[d] });
  });
  let run = runs.length - 1;
  let done = 1;
  const result = shape.map(() => 0);
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] === 1) continue;
    if (run < 0 || runs[run].size % (done * shape[d]) !== 0) return undefined;
    result[d] = done * runs[run].stride;
    done *= shape[d];
    if (done === runs[run].size) {
      run--;
      done = 1;
    }
  }
  return result;
}

/** How `n` lies in the buffer of the first node down its movement that strides cannot describe. */
export function viewOf(n: GraphNode): View {
  const input = n.inputs[0];
  switch (n.op) {
    case "detach":
      return viewOf(input);
    case "reshape": {
      const view = viewOf(input);
      const strides = reshaped(input.shape, view.strides, n.shape);
      return strides ? { ...view, strides } : plainView(n);
    }
    case "permute": {
      const { dims } = n.tensor.attributes as Attributes["permute"];
      const view = viewOf(input);
      return { ...view, strides: dims.map((d) => view.strides[d]) };
    }
    case "slice": {
      const { start, step } = n.tensor.attributes as Attributes["slice"];
      if (step.some((s) => s < 0)) return plainView(n);
      const { base, first, strides } = viewOf(input);
      return {
        base,
        first: start.reduce((sum, at, d) => sum + at * strides[d], first),
        strides: strides.map((stride, d) => stride * step[d]),
      };
    }
    default:
      return plainView(n);
  }
}
