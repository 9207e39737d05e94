/** The matmul kernels. */
import type { AdapterProfile } from "../engine/device.ts";
import { type Companion, type Epilogue, IDENTITY, type Lowering } from "./kernel.ts";
import { lowerProduct } from "./matmul_product.ts";

/** a [batchA, m, k] (or [batchA, k, m]) times b [batchB, k, n] (or [batchB, n, k]). */
export interface MatmulShape {
  /** Equal to `batchB`, or one of them is 1: that factor is used for the whole batch. */
  readonly batchA: number;
  readonly batchB: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  readonly transA: boolean;
  readonly transB: boolean;
}

/** Where matrices lie in a buffer. */
export interface MatrixView {
  /** Elements before the first matrix, and from one to the next. */
  readonly first: number;
  readonly batch: number;
  /** Whether rows are whole; columns are otherwise. */
  readonly rows: boolean;
  /** Elements from one row (or column) to the next. */
  readonly stride: number;
}

/** Matrices of `rows` x `columns`, one after another. */
const plain = (rows: number, columns: number): MatrixView => ({
  first: 0,
  batch: rows * columns,
  rows: true,
  stride: columns,
});

/**
 * Kernels of C[max(batchA, batchB), m, n] = a b: inputs a and b, output C. The epilogue sees flat
 * indices of C.
 *
 * @param views where a and b lie, if not one row after another.
 * @param companion the sums of a over k, [m], which kernels for CPU adapters make on the way.
 * @throws {RangeError} where the batches do not agree.
 */
export function lowerMatmul(
  shape: MatmulShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
  companion?: Companion,
  views?: readonly [MatrixView, MatrixView],
): Lowering {
  const { batchA, batchB, k, n, transA, transB } = shape;
  if (batchA !== batchB && batchA !== 1 && batchB !== 1) {
    throw new RangeError(`matmul: batches of ${batchA} and ${batchB} do not broadcast.`);
  }
  const [left, right] = views ??
    [transA ? plain(k, shape.m) : plain(shape.m, k), transB ? plain(n, k) : plain(k, n)];
  // One right factor for the whole batch: the batch is more rows of the left one.
  const fold = batchB === 1 && !transA &&
    (batchA === 1 || (left.rows && left.batch === shape.m * left.stride));
  const m = fold ? shape.m * batchA : shape.m;
  const batch = fold ? 1 : Math.max(batchA, batchB);
  const batches = (count: number, { first, batch: step }: MatrixView) => ({
    first,
    step: count === 1 || batch === 1 ? 0 : step,
  });
  const label = `matmul ${batch}x${m}x${k}x${n}${transA ? " A^T" : ""}${transB ? " B^T" : ""}`;
  return lowerProduct(
    {
      label,
      batch,
      reduce: 1,
      m,
      n,
      k,
      lhs: {
        arg: "in0",
        contiguous: transA === left.rows ? "outer" : "k",
        stride: left.stride,
        batches: batches(batchA, left),
      },
      rhs: {
        arg: "in1",
        contiguous: transB === right.rows ? "k" : "outer",
        stride: right.stride,
        batches: batches(batchB, right),
      },
      out: "out0",
    },
    profile,
    epilogue,
    0,
    companion,
  );
}
