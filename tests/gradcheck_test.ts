import { ok, strictEqual as equal } from "node:assert/strict";
import {
  abs,
  add,
  amax,
  argmax,
  bitcast,
  cast,
  cat,
  constant,
  conv2d,
  cos,
  cumsum,
  detach,
  dfeCombine,
  dfeSimilarity,
  div,
  eq,
  erf,
  exp,
  expand,
  flip,
  floor,
  full,
  gradients,
  indexSelect,
  interpolate,
  layerNorm,
  le,
  log,
  logSoftmax,
  lt,
  matmul,
  maximum,
  maxPool2d,
  minimum,
  mul,
  neg,
  padZeros,
  permute,
  pow,
  relu,
  reshape,
  rsqrt,
  scaledDotProductAttention,
  shiftRight,
  sigmoid,
  sign,
  sin,
  slice,
  softmax,
  softplus,
  sqrt,
  sub,
  sum,
  tanh,
  type Tensor,
  tensor,
  where,
  xor,
} from "../engine/mod.ts";
import type { Primitive } from "../engine/attributes.ts";
import { gradientRules } from "../engine/primitives.ts";
import { onSchedule } from "./engine_modes.ts";
import { checkGradients, type GradientCase, type Input } from "./gradcheck.ts";
import { SCHEDULES } from "./kernel_harness.ts";

const SIZES = [1, 3, 17, 33];

/** How the gradient of a primitive is known to be right. */
type Check =
  /** Central differences, at a size. */
  | { readonly differences: (n: number) => GradientCase }
  /** No gradient flows through it. */
  | { readonly blocks: (x: Tensor) => Tensor }
  /** It has no inputs, or serves another primitive under whose name it is checked. */
  | { readonly reason: string };

const unary = (f: (x: Tensor) => Tensor, input: Omit<Input, "shape"> = {}): Check => ({
  differences: (n) => ({ inputs: [{ shape: [2, n], low: -2, high: 2, ...input }], f }),
});

const binary = (
  f: (a: Tensor, b: Tensor) => Tensor,
  second: Omit<Input, "shape"> = {},
  first: Omit<Input, "shape"> = {},
): Check => ({
  differences: (n) => ({ inputs: [{ shape: [2, n], ...first }, { shape: [2, n], ...second }], f }),
});

const positive = { low: 0.5, high: 2 };
const indices = (n: number, below: number) =>
  tensor(Uint32Array.from({ length: n }, (_, i) => (i * 5 + 2) % below));
const masked = (n: number) =>
  constant(Float32Array.from({ length: 2 * n }, (_, i) => i % 3), [2, n]);

/** 0, 4, 8 and 12 in each square of four neighbours, wherever it begins. */
function squares([, , height, width]: readonly number[]): Tensor {
  const at = (i: number) => 2 * (Math.floor(i / width) % 2) + i % width % 2;
  return constant(Float32Array.from({ length: height * width }, (_, i) => 4 * at(i)), [
    height,
    width,
  ]);
}

const asBits = (x: Tensor) => cast(abs(x), "u32");

/** One entry for each primitive: the compiler reports one that is missing. */
const CHECKS: { readonly [P in Primitive]: Check } = {
  leaf: { reason: "a source" },
  constant: { reason: "a source" },
  iota: { reason: "a source" },
  output: { reason: "a part of attention, attentionBackward, layerNorm and layerNormBackward" },
  attentionBackward: { reason: "the gradient of attention" },
  maxPoolBackward: { reason: "the gradient of maxPool" },
  softmaxBackward: { reason: "the gradient of softmax" },
  logSoftmaxBackward: { reason: "the gradient of logSoftmax" },
  layerNormBackward: { reason: "the gradient of layerNorm" },
  conv2dInput: { reason: "the gradient of conv2d" },
  conv2dWeight: { reason: "the gradient of conv2d" },

  dfeCombineBackward: { reason: "the gradient of dfeCombine" },

  neg: unary(neg),
  abs: unary(abs, { avoid: [0] }),
  sign: { blocks: sign },
  floor: { blocks: floor },
  exp: unary(exp),
  log: unary(log, positive),
  sqrt: unary(sqrt, positive),
  rsqrt: unary(rsqrt, positive),
  sin: unary(sin),
  cos: unary(cos),
  tanh: unary(tanh),
  sigmoid: unary(sigmoid),
  erf: unary(erf),
  softplus: unary(softplus),
  relu: unary(relu, { avoid: [0] }),
  bitcast: { blocks: (x) => bitcast(bitcast(x, "u32"), "f32") },
  cast: { blocks: (x) => cast(cast(x, "i32"), "f32") },
  detach: { blocks: detach },

  add: binary(add),
  sub: binary(sub),
  mul: binary(mul),
  div: binary(div, positive),
  pow: binary(pow, {}, positive),
  maximum: binary((a, b) => maximum(a, mul(b, 0.01)), {}, { avoid: [0] }),
  minimum: binary((a, b) => minimum(a, mul(b, 0.01)), {}, { avoid: [0] }),
  lt: { blocks: (x) => lt(x, 0) },
  le: { blocks: (x) => le(x, 0) },
  eq: { blocks: (x) => eq(x, 0) },
  xor: { blocks: (x) => cast(xor(asBits(x), 5), "f32") },
  shiftRight: { blocks: (x) => cast(shiftRight(asBits(x), 1), "f32") },
  where: {
    differences: (n) => ({
      inputs: [{ shape: [2, n] }, { shape: [2, n] }],
      f: (a, b) => where(masked(n), a, b),
    }),
  },

  reshape: unary((x) => reshape(mul(x, x), [x.size])),
  permute: unary((x) => permute(mul(x, x), [1, 0])),
  expand: {
    differences: (n) => ({
      inputs: [{ shape: [1, n] }, { shape: [2, 1] }],
      f: (a, b) => mul(expand(a, [4, n]), expand(reshape(b, [2, 1, 1]), [2, 4, n])),
    }),
  },
  slice: {
    differences: (n) => ({
      inputs: [{ shape: [3, n + 2] }],
      f: (x) => slice(slice(flip(mul(x, x), [1]), 1, 1), 0, 0, 3, 2),
    }),
  },
  pad: unary((x) => padZeros(mul(x, x), [[1, 0], [2, 3]])),
  indexSelect: {
    differences: (n) => ({
      inputs: [{ shape: [3, n, 2] }],
      f: (x) => indexSelect(mul(x, x), 1, indices(n + 4, n)),
    }),
  },

  sum: unary((x) => sum(mul(x, x), 0)),
  amax: {
    differences: (n) => ({
      // Distinct values, far apart, so that the largest does not change.
      inputs: [{
        shape: [n, 2],
        data: Float32Array.from({ length: 2 * n }, (_, i) => ((i * 7) % (2 * n)) - n),
      }, { shape: [n, 2] }],
      f: (x, y) => amax(add(x, mul(y, 0.1)), 0),
    }),
  },
  argmax: { blocks: (x) => cast(argmax(x, -1), "f32") },
  cat: {
    differences: (n) => ({
      inputs: [{ shape: [2, n] }, { shape: [2, 3] }, { shape: [2, n] }],
      f: (a, b, c) => cat([mul(a, a), b, mul(c, a)], 1),
    }),
  },
  matmul: {
    differences: (n) => ({
      inputs: [{ shape: [2, n, 3] }, { shape: [1, 5, n] }, { shape: [2, 3, 5] }],
      f: (a, b, c) => matmul(matmul(b, a), c, { transA: true, transB: true }),
    }),
  },
  conv2d: {
    differences: (n) => ({
      inputs: [{ shape: [2, 4, n, n + 1] }, { shape: [6, 2, 3, 2] }],
      f: (x, w) => conv2d(x, w, undefined, { stride: 2, padding: 1, groups: 2 }),
    }),
  },
  attention: {
    differences: (n) => ({
      inputs: [
        { shape: [1, 2, n, 8] },
        { shape: [1, 2, n + 2, 8] },
        { shape: [1, 2, n + 2, 8] },
        { shape: [1, 1, n, n + 2] },
      ],
      f: (q, k, v, mask) => scaledDotProductAttention(q, k, v, { mask }),
    }),
  },
  maxPool: {
    differences: (n) => ({
      inputs: [{ shape: [1, 2, n + 1, 4] }],
      // Far from each other, so that no small step changes which one is the largest.
      f: (x) => maxPool2d(add(x, squares(x.shape)), { kernel: 2, stride: 1 }),
    }),
  },
  softmax: unary((x) => softmax(x, 1)),
  logSoftmax: unary((x) => logSoftmax(x, 0)),
  layerNorm: {
    differences: (n) => ({
      inputs: [{ shape: [3, n + 1] }, { shape: [n + 1] }, { shape: [n + 1] }],
      f: (x, weight, bias) => layerNorm(x, weight, bias, 1e-2),
    }),
  },
  cumsum: unary((x) => cumsum(mul(x, x), 1)),
  resample: {
    differences: (n) => ({
      inputs: [{ shape: [1, 2, n, 3] }],
      f: (x) => interpolate(mul(x, x), { size: [n + 3, 5], mode: "bicubic" }),
    }),
  },
  dfeSimilarity: {
    differences: (n) => ({
      inputs: [{ shape: [2, n, 2, 3], low: 0 }, { shape: [2, n, 2, 3], low: 0 }],
      f: (p, q) => dfeSimilarity(p, q),
    }),
  },
  dfeCombine: {
    differences: (n) => ({
      inputs: [...new Array<Input>(4).fill({ shape: [2, 3, 1, n] }), { shape: [2] }],
      f: (p, q, mappedP, mappedQ, s) => dfeCombine(p, q, mappedP, mappedQ, s),
    }),
  },
  indexAdd: {
    // The gradient of a selection adds rows; here that sum is differentiated in turn.
    differences: (n) => ({
      inputs: [{ shape: [n + 4, 2] }],
      f: (y) => {
        const x = full([n, 2], 1);
        const loss = sum(mul(indexSelect(x, 0, indices(n + 4, n)), mul(y, y)));
        return gradients(loss, [x])[0]!;
      },
    }),
  },
};

for (const schedule of SCHEDULES) {
  Deno.test(`gradients of all primitives agree with differences on ${schedule}`, (t) =>
    onSchedule(schedule, async () => {
      for (const [name, check] of Object.entries(CHECKS)) {
        if ("reason" in check) continue;
        await t.step(name, async () => {
          if ("blocks" in check) return checkBlocked(name, check.blocks);
          for (const n of SIZES) await checkGradients(`${name} at ${n}`, check.differences(n));
        });
      }
    }));
}

function checkBlocked(name: string, f: (x: Tensor) => Tensor): void {
  const x = tensor(Float32Array.of(0.5, -1.5, 2.5));
  const [through] = gradients(sum(f(x)), [x]);
  equal(through, undefined, name);
  const [beside] = gradients(sum(mul(f(x), x)), [x]);
  ok(beside, `${name}: the other path gets its gradient`);
}

Deno.test("CHECKS names exactly the primitives that have gradient rules", () => {
  for (const name of Object.keys(CHECKS)) ok(name in gradientRules, `${name} has no rule`);
  for (const name of Object.keys(gradientRules)) ok(name in CHECKS, `${name} has no check`);
});
