/** Scaled dot-product attention. */
import {
  type AttentionShape,
  lowerAttention,
  lowerAttentionBackward,
} from "../../shaders/attention.ts";
import { isFloat } from "../dtype.ts";
import { adjacent, type HeavyRule, type InputView } from "../rule.ts";
import { sameShape, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { factors } from "./matmul.ts";
import { expand, narrow, padZeros, permute, reshape } from "./movement.ts";
import { sumTo } from "./reduce.ts";
import { noSecondDerivative } from "./second_derivative.ts";

/** Options of {@link scaledDotProductAttention}. */
export interface AttentionOptions {
  /** Added to the scaled scores: broadcastable to [B, H, N, M]; -Infinity hides a key. */
  readonly mask?: Tensor | undefined;
  /** Hides key j from query i where j > i. */
  readonly causal?: boolean;
  /** Factor of the scores; 1 / sqrt(D) where left out. */
  readonly scale?: number;
}

/** The mask as [1 | B, 1 | H, N, M]. */
function maskOf(mask: Tensor, [batch, heads, queries]: Shape, keys: number): Tensor {
  if (!isFloat(mask.dtype)) {
    throw new TypeError(
      `scaledDotProductAttention: a mask of ${mask.dtype} cannot be added to scores, f32 or f16 can.`,
    );
  }
  const sizes = [...Array<number>(Math.max(0, 4 - mask.rank)).fill(1), ...mask.shape];
  const full = [batch, heads, queries, keys];
  if (sizes.length > 4 || sizes.some((size, i) => size !== 1 && size !== full[i])) {
    throw new RangeError(
      `scaledDotProductAttention: mask ${show(mask.shape)} does not broadcast to ${show(full)}.`,
    );
  }
  return expand(reshape(mask, sizes), [sizes[0], sizes[1], queries, keys]);
}

/**
 * softmax(scale * q k^T + mask) v without the score matrix in memory.
 *
 * @param q [B, H, N, D]
 * @param k [B, H, M, D]
 * @param v [B, H, M, E]
 * @returns [B, H, N, E]; zeros for a query whose keys are all hidden.
 * @throws {RangeError} where shapes disagree.
 * @throws {TypeError} where q, k and v are not all f32, or all f16; the mask may be either.
 */
export function scaledDotProductAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  { mask, causal = false, scale }: AttentionOptions = {},
): Tensor {
  const fits = [q, k, v].every((x) => x.rank === 4) && q.shape[3] === k.shape[3] &&
    sameShape(q.shape.slice(0, 2), k.shape.slice(0, 2)) &&
    sameShape(k.shape.slice(0, 3), v.shape.slice(0, 3));
  if (!fits) {
    throw new RangeError(
      `scaledDotProductAttention: q ${show(q.shape)}, k ${show(k.shape)} and v ${
        show(v.shape)
      } are not [B, H, N, D], [B, H, M, D] and [B, H, M, E].`,
    );
  }
  const attributes = {
    scale: scale ?? 1 / Math.sqrt(q.shape[3]),
    causal,
    masked: mask !== undefined,
  };
  // The kernels take one width for all: zeros add nothing to scores, and their outputs are cut off.
  const width = Math.max(q.shape[3], v.shape[3]);
  const wide = factors("scaledDotProductAttention", q, k, v)
    .map((x) => headsLast(widen(x, width)));
  const inputs = mask ? [...wide, maskOf(mask, q.shape, k.shape[2])] : wide;
  const out = headsLast(node("attention", attributes, inputs, wide[0].shape));
  return narrow(out, 3, 0, v.shape[3]);
}

/**
 * [B, H, N, D] as the primitive's [B, N, H, D], and back. Heads are usually cut from the channels of
 * tokens, which this undoes: then nothing moves at all.
 */
const headsLast = (x: Tensor) => permute(x, [0, 2, 1, 3]);

/** Zeros after the last dimension up to `width`. */
function widen(x: Tensor, width: number): Tensor {
  return padZeros(x, x.shape.map((size, i) => [0, i === x.rank - 1 ? width - size : 0]));
}

const layoutOf = ({ first, strides: [batch, row, head] }: InputView) => ({
  first,
  batch,
  row,
  head,
});

function shapeOf(
  [q, k]: readonly Tensor[],
  mask: Tensor | undefined,
  { scale, causal }: { scale: number; causal: boolean },
  views: readonly InputView[],
): AttentionShape {
  const [batch, queries, heads, dim] = q.shape;
  const planes = mask ? [mask.shape[0], mask.shape[1]] as const : undefined;
  const layouts = { q: layoutOf(views[0]), k: layoutOf(views[1]), v: layoutOf(views[2]) };
  return { batch, heads, queries, keys: k.shape[1], dim, scale, causal, mask: planes, layouts };
}

/** The shape of a value for each row of scores. */
const rowsShape = ({ shape: [batch, queries, heads] }: Tensor) => [batch, heads, queries];

const scoresShape = ([q, k]: readonly Tensor[]) => [...rowsShape(q), k.shape[1]];

/** Queries, keys and values may lie apart, but each of their rows is whole. */
const readsInPlace = (index: number, shape: Shape, strides: readonly number[]) =>
  index < 3 && adjacent(shape, strides, -1);

/** Rules of the forward and backward primitives. */
export const attentionRules: {
  attention: HeavyRule<"attention">;
  attentionBackward: HeavyRule<"attentionBackward">;
} = {
  attention: {
    epilogue: false,
    readsInPlace,
    extraOutputs: ({ inputs: [q] }) => [{ shape: rowsShape(q), dtype: "f32" }],
    gradient: (n, g, needs) => {
      const [q, k, v, mask] = n.inputs;
      const lse = node("output", { index: 1 }, [n], rowsShape(q), "f32");
      const maskGradient = mask !== undefined && needs[3];
      const inputs = [q, k, v, n, lse, g, ...mask ? [mask] : []];
      const main = node("attentionBackward", { ...n.attributes, maskGradient }, inputs, q.shape);
      const output = (index: number, shape: Shape, dtype = main.dtype) =>
        node("output", { index }, [main], shape, dtype);
      const gradients: (Tensor | undefined)[] = [main, output(1, k.shape), output(2, v.shape)];
      if (maskGradient) gradients.push(sumTo(output(3, scoresShape(n.inputs), "f32"), mask.shape));
      else if (mask) gradients.push(undefined);
      return gradients;
    },
    lower: (n, profile, _epilogue, views) =>
      lowerAttention(shapeOf(n.inputs, n.inputs[3], n.attributes, views), profile),
  },
  attentionBackward: {
    epilogue: false,
    readsInPlace,
    extraOutputs: ({ inputs, attributes }) => [
      { shape: inputs[1].shape, dtype: inputs[1].dtype },
      { shape: inputs[2].shape, dtype: inputs[2].dtype },
      ...attributes.maskGradient ? [{ shape: scoresShape(inputs), dtype: "f32" as const }] : [],
    ],
    gradient: noSecondDerivative("scaledDotProductAttention"),
    lower: (n, profile, _epilogue, views) =>
      lowerAttentionBackward(
        shapeOf(n.inputs, n.inputs[6], n.attributes, views),
        n.attributes.maskGradient,
        profile,
      ),
  },
};
