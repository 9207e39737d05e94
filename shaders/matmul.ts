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

/**
 * Kernels of C[max(batchA, batchB), m, n] = a b: inputs a and b, output C. The epilogue sees flat
 * indices of C.
 *
 * @param companion the sums of a over k, [m], which kernels for CPU adapters make on the way.
 * @throws {RangeError} where the batches do not agree.
 */
export function lowerMatmul(
  shape: MatmulShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
  companion?: Companion,
): Lowering {
  const { batchA, batchB, k, n, transA, transB } = shape;
  if (batchA !== batchB && batchA !== 1 && batchB !== 1) {
    throw new RangeError(`matmul: batches of ${batchA} and ${batchB} do not broadcast.`);
  }
  // One right factor for the whole batch: the batch is more rows of the left one.
  const fold = batchB === 1 && !transA;
  const m = fold ? shape.m * batchA : shape.m;
  const batch = fold ? 1 : Math.max(batchA, batchB);
  const step = (batches: number, size: number) => batches === 1 || batch === 1 ? 0 : size;
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
        contiguous: transA ? "outer" : "k",
        stride: transA ? m : k,
        batches: { first: 0, step: step(batchA, shape.m * k) },
      },
      rhs: {
        arg: "in1",
        contiguous: transB ? "k" : "outer",
        stride: transB ? k : n,
        batches: { first: 0, step: step(batchB, k * n) },
      },
      out: "out0",
    },
    profile,
    epilogue,
    0,
    companion,
  );
}
