/** Speed of the heavy kernels over shapes of SAM-2 and of SSS training. */
import {
  add,
  constant,
  conv2d,
  gradients,
  layerNorm,
  matmul,
  mul,
  scaledDotProductAttention,
  softmax,
  sum,
  type Tensor,
} from "../engine/mod.ts";
import type { Case } from "./timing.ts";

/** Values that are neither zero nor alike. */
function data(shape: readonly number[]): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  let state = 12345;
  const values = Float32Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
  return constant(values, shape);
}

/** Forward and backward cases of a function whose forward pass costs `work`. */
function both(
  name: string,
  inputs: readonly Tensor[],
  f: (...inputs: Tensor[]) => Tensor,
  work: number,
  backwardWork: number,
  unit: Case["unit"] = "GFLOP/s",
): Case[] {
  const out = f(...inputs);
  const upstream = data(out.shape);
  const grads = gradients(sum(mul(out, upstream)), inputs) as Tensor[];
  const shape = inputs.map((x) => `[${x.shape}]`).join(" ");
  return [
    { name, shape, pass: "forward", outputs: [out], work, unit },
    { name, shape, pass: "backward", outputs: grads, work: backwardWork, unit },
  ];
}

function matmulCase(m: number, k: number, n: number): Case[] {
  const flops = 2 * m * k * n;
  return both("matmul", [data([m, k]), data([k, n])], (a, b) => matmul(a, b), flops, 2 * flops);
}

function convCase(
  x: number[],
  w: number[],
  options: { stride?: number; padding?: number; groups?: number },
) {
  const { stride = 1, padding = 0 } = options;
  const side = (n: number, k: number) => Math.floor((n + 2 * padding - k) / stride) + 1;
  const flops = 2 * x[0] * side(x[2], w[2]) * side(x[3], w[3]) * w.reduce((a, b) => a * b, 1);
  return both(
    "conv2d",
    [data(x), data(w)],
    (a, b) => conv2d(a, b, undefined, options),
    flops,
    2 * flops,
  );
}

function attentionCase(heads: number, queries: number, keys: number, dim: number): Case[] {
  const flops = 4 * heads * queries * keys * dim;
  const inputs = [[1, heads, queries, dim], [1, heads, keys, dim], [1, heads, keys, dim]].map(data);
  const f = (q: Tensor, k: Tensor, v: Tensor) => scaledDotProductAttention(q, k, v);
  return both("attention", inputs, f, flops, 2.5 * flops);
}

/** All cases. Backward work counts what the gradients need, not what a kernel recomputes. */
export function kernelCases(): Case[] {
  const rows = data([4096, 768]);
  const [weight, bias] = [data([768]), data([768])];
  const bytes = rows.size * 8;
  return [
    ...matmulCase(1024, 1024, 1024),
    ...matmulCase(4096, 96, 384),
    ...matmulCase(256, 768, 768),
    ...matmulCase(1024, 32, 96),
    ...convCase([1, 64, 128, 128], [64, 64, 3, 3], { padding: 1 }),
    ...convCase([4, 64, 32, 32], [64, 64, 3, 3], { padding: 1 }),
    ...convCase([4, 3, 128, 128], [32, 3, 7, 7], { stride: 4, padding: 3 }),
    ...convCase([4, 64, 8, 8], [64, 1, 7, 7], { padding: 3, groups: 64 }),
    ...attentionCase(8, 1024, 1024, 32),
    ...attentionCase(16, 64, 64, 32),
    ...both("softmax", [rows], (x) => softmax(x, -1), bytes, 1.5 * bytes, "GB/s"),
    ...both(
      "layerNorm",
      [rows, weight, bias],
      (x, w, b) => layerNorm(x, w, b),
      bytes,
      1.5 * bytes,
      "GB/s",
    ),
    ...both("elementwise", [rows], (x) => add(mul(x, x), x), bytes, 1.5 * bytes, "GB/s"),
  ];
}
