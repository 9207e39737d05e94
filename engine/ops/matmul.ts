/** Matrix products. */
import { lowerMatmul, type MatrixView } from "../../shaders/matmul.ts";
import { lowered } from "../autocast.ts";
import { isFloat } from "../dtype.ts";
import { adjacent, type Gradient, type HeavyRule, type InputView } from "../rule.ts";
import { broadcastShapes, numel, type Shape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { expand, reshape } from "./movement.ts";
import { sumTo } from "./reduce.ts";

/** Which operands of {@link matmul} are read with their last two dimensions swapped. */
export interface MatmulOptions {
  /** Reads the left operand as [..., K, M]. */
  readonly transA?: boolean;
  /** Reads the right operand as [..., N, K]. */
  readonly transB?: boolean;
}

/** The primitive: a [A, M, K] times b [B, K, N], A = B or one of them 1. */
function product(a: Tensor, b: Tensor, transA: boolean, transB: boolean): Tensor {
  const batch = Math.max(a.shape[0], b.shape[0]);
  const m = a.shape[transA ? 2 : 1];
  const n = b.shape[transB ? 1 : 2];
  return node("matmul", { transA, transB }, [a, b], [batch, m, n]);
}

/** The factors of a product as it takes them: both f32, or both f16. */
export function factors(op: string, ...operands: readonly [Tensor, Tensor, ...Tensor[]]): Tensor[] {
  const chosen = operands.map(lowered);
  const [{ dtype }] = chosen;
  if (!isFloat(dtype) || chosen.some((x) => x.dtype !== dtype)) {
    throw new TypeError(
      `${op}: operands are ${chosen.map((x) => x.dtype).join(" and ")}, not all f32 or all f16.`,
    );
  }
  return chosen;
}

/** A stack of matrices as [batch, rows, columns]: 1 where it holds one, else the common batch. */
function flattenBatch(x: Tensor, batch: Shape): Tensor {
  const own = x.shape.slice(0, -2);
  const matrix = x.shape.slice(-2);
  const full = numel(own) === 1 || numel(own) === numel(batch) ? x : expand(x, [
    ...batch,
    ...matrix,
  ]);
  return reshape(full, [-1, ...matrix]);
}

/**
 * The matrix product x y, as `torch.matmul`: leading dimensions broadcast, a vector on the left is a
 * row and one on the right a column, whose dimension the result lacks.
 *
 * @param options `transA`, `transB`: read the operand's last two dimensions swapped.
 * @throws {RangeError} where sizes disagree, an operand is a scalar, or a vector is to be swapped.
 * @throws {TypeError} where the operands are not both f32, or both f16.
 */
export function matmul(x: Tensor, y: Tensor, options: MatmulOptions = {}): Tensor {
  const { transA = false, transB = false } = options;
  const [a, b] = factors("matmul", x, y);
  if (a.rank === 0 || b.rank === 0 || (transA && a.rank === 1) || (transB && b.rank === 1)) {
    throw new RangeError(
      `matmul: cannot multiply ${show(a.shape)}${transA ? " transposed" : ""} ` +
        `by ${show(b.shape)}${transB ? " transposed" : ""}.`,
    );
  }
  const left = a.rank === 1 ? reshape(a, [1, -1]) : a;
  const right = b.rank === 1 ? reshape(b, [-1, 1]) : b;
  const k = left.shape.at(transA ? -2 : -1);
  if (k !== right.shape.at(transB ? -1 : -2)) {
    throw new RangeError(
      `matmul: the inner sizes of ${show(a.shape)}${transA ? " transposed" : ""} and ` +
        `${show(b.shape)}${transB ? " transposed" : ""} differ.`,
    );
  }
  const batch = broadcastShapes(left.shape.slice(0, -2), right.shape.slice(0, -2), "matmul");
  const out = product(flattenBatch(left, batch), flattenBatch(right, batch), transA, transB);
  const rows = a.rank === 1 ? [] : [out.shape[1]];
  const columns = b.rank === 1 ? [] : [out.shape[2]];
  return reshape(out, [...batch, ...rows, ...columns]);
}

const gradient: Gradient<"matmul"> = (n, g, needs) => {
  const [a, b] = n.inputs;
  const { transA, transB } = n.attributes;
  const left = () => transA ? product(b, g, transB, true) : product(g, b, false, !transB);
  const right = () => {
    if (b.shape[0] === 1 && a.shape[0] > 1 && !transA) {
      // One right factor for the whole batch: sum over the batch within one product.
      const rows = reshape(a, [1, -1, a.shape[2]]);
      const outer = reshape(g, [1, -1, g.shape[2]]);
      return transB ? product(outer, rows, true, false) : product(rows, outer, true, false);
    }
    return transB ? product(g, a, true, transA) : product(a, g, !transA, false);
  };
  return [
    needs[0] ? sumTo(left(), a.shape) : undefined,
    needs[1] ? sumTo(right(), b.shape) : undefined,
  ];
};

/** Gradient and kernels of matmul. */
export const matmulRule: HeavyRule<"matmul"> = {
  gradient,
  epilogue: true,
  sumsLeft: true,
  readsInPlace: (_index, shape, strides) =>
    adjacent(shape, strides, -1) || adjacent(shape, strides, -2),
  lower: (n, profile, epilogue, [left, right], companion) => {
    const { inputs: [a, b], attributes: { transA, transB } } = n;
    const [batchA, batchB] = [a.shape[0], b.shape[0]];
    const [m, k] = transA ? [a.shape[2], a.shape[1]] : [a.shape[1], a.shape[2]];
    const shape = { batchA, batchB, m, k, n: b.shape[transB ? 1 : 2], transA, transB };
    const lies = (x: Tensor, { first, strides }: InputView): MatrixView => {
      const [batch, row, column] = strides;
      const rows = adjacent(x.shape, strides, -1);
      return { first, batch, stride: rows ? row : column, rows };
    };
    return lowerMatmul(shape, profile, epilogue, companion, [lies(a, left), lies(b, right)]);
  },
};
