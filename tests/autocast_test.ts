import {
  add,
  autocast,
  batchNorm2d,
  bceWithLogits,
  cast,
  cat,
  conv2d,
  convTranspose2d,
  crossEntropy,
  cumsum,
  dfeSimilarity,
  diceLoss,
  type DType,
  einsum,
  evaluate,
  exp,
  gelu,
  gradients,
  layerNorm,
  linear,
  log,
  matmul,
  maximum,
  mean,
  mseLoss,
  norm,
  pow,
  read,
  readAll,
  relu,
  reshape,
  scaledDotProductAttention,
  select,
  sigmoid,
  sigmoidFocalLoss,
  softmax,
  square,
  submit,
  sum,
  type Tensor,
  tensor,
  variance,
  where,
} from "../engine/mod.ts";
import { LayerNorm, Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters, GradScaler } from "../engine/optim/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { Hiera } from "../model/sam2/hiera.ts";
import { hashValues } from "../train/parity/hash.ts";
import { binding, onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { planOf } from "./plans.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";

const leaf = (seed: string, ...shape: number[]) =>
  tensor(hashValues(seed, shape.reduce((a, b) => a * b, 1), 0, 1), shape);
const half = (seed: string, ...shape: number[]) => cast(leaf(seed, ...shape), "f16");

/** Result types of ops under autocast, of operands of both types. */
const TYPES: readonly [DType, string, (x: Tensor) => Tensor][] = [
  ["f16", "matmul", (x) => matmul(x, leaf("b", 4, 4))],
  ["f16", "linear", (x) => linear(x, leaf("w", 3, 4), leaf("b", 3))],
  ["f16", "einsum", (x) => einsum("ij,jk->ik", x, leaf("b", 4, 4))],
  ["f16", "conv2d", (x) => conv2d(reshape(x, [1, 1, 4, 4]), leaf("w", 2, 1, 3, 3), leaf("b", 2))],
  [
    "f16",
    "convTranspose2d",
    (x) =>
      convTranspose2d(reshape(x, [1, 1, 4, 4]), leaf("w", 1, 2, 2, 2), leaf("b", 2), { stride: 2 }),
  ],
  ["f16", "attention", (x) => {
    const heads = reshape(x, [1, 1, 4, 4]);
    return scaledDotProductAttention(heads, leaf("k", 1, 1, 4, 4), heads, {
      mask: leaf("m", 4, 4),
    });
  }],
  ["f32", "softmax", (x) => softmax(x, -1)],
  ["f32", "layerNorm", (x) => layerNorm(x, leaf("w", 4), leaf("b", 4))],
  ["f32", "batchNorm2d", (x) => {
    const four = leaf("four", 1);
    const running = { mean: four, variance: four };
    return batchNorm2d(reshape(x, [1, 1, 4, 4]), four, four, running, { training: true }).out;
  }],
  ["f32", "sum", (x) => sum(x, 0)],
  ["f32", "mean", (x) => mean(x)],
  ["f32", "variance", (x) => variance(x)],
  ["f32", "norm", (x) => norm(x)],
  ["f32", "cumsum", (x) => cumsum(x, 0)],
  ["f32", "exp", exp],
  ["f32", "log", log],
  ["f32", "pow", (x) => pow(x, 3)],
  [
    "f32",
    "dfeSimilarity",
    (x) => dfeSimilarity(reshape(x, [1, 1, 4, 4]), reshape(x, [1, 1, 4, 4])),
  ],
  ["f32", "mseLoss", (x) => mseLoss(x, x)],
  ["f32", "diceLoss", (x) => diceLoss(x, leaf("y", 4, 4))],
  ["f32", "sigmoidFocalLoss", (x) => sigmoidFocalLoss(x, leaf("y", 4, 4))],
  ["f32", "bceWithLogits", (x) => bceWithLogits(x, leaf("y", 4, 4))],
  ["f32", "crossEntropy", (x) => crossEntropy(x, tensor(Uint32Array.of(0, 1, 2, 3)))],
  ["f32", "a sum of both types", (x) => add(x, half("other", 4, 4))],
  ["f32", "a join of both types", (x) => cat([x, leaf("other", 4, 4), half("other", 4, 4)], 0)],
  ["f32", "a choice of both types", (x) => where(x, half("other", 4, 4), leaf("other", 4, 4))],
];

Deno.test("autocast() gives each op its type, whatever its operands have", () => {
  for (const [dtype, name, build] of TYPES) {
    autocast("f16", () => {
      equal(build(leaf("x", 4, 4)).dtype, dtype, name);
      if (!/both/.test(name)) equal(build(half("x", 4, 4)).dtype, dtype, name);
    });
    if (!/both/.test(name)) equal(build(leaf("x", 4, 4)).dtype, "f32", name);
  }
  for (const keeps of [gelu, relu, sigmoid, square, (x: Tensor) => maximum(x, 0)]) {
    autocast("f16", () => {
      deepEqual([keeps(half("x", 4)).dtype, keeps(leaf("x", 4)).dtype], ["f16", "f32"]);
    });
  }
});

Deno.test("autocast() ends with its scope, also where that throws, and can be switched off inside", () => {
  const product = () => matmul(leaf("a", 2, 2), leaf("b", 2, 2)).dtype;
  throws(() =>
    autocast("f16", () => {
      throw new Error("out");
    }), /out/);
  equal(product(), "f32");
  deepEqual(autocast("f16", () => [product(), autocast("f32", product), product()]), [
    "f16",
    "f32",
    "f16",
  ]);
  equal(product(), "f32");
});

for (const schedule of SCHEDULES) {
  Deno.test(`weights are rounded where they are read, to the bits of a copy in f16, on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      for (const n of [3, 33]) {
        const [x, w] = [leaf(`x ${n}`, 5, n), leaf(`w ${n}`, n, n)];
        const build = (x: Tensor, w: Tensor) => {
          const out = matmul(gelu(matmul(x, w, { transB: true })), w);
          const grads = gradients(sum(cast(out, "f32")), [x, w]);
          // A companion of the product with the same factor, if that were not rounded.
          return [out, ...grads.map((g) => cast(g!, "f16")), sum(cast(w, "f32"), 0)];
        };
        const rounded = autocast("f16", () => build(x, w));
        const copies = [x, w].map((t) => tensor(new Float16Array(t.host!), t.shape));
        const stored = autocast("f16", () => build(copies[0], copies[1]));
        const [found, expected] = [await readAll(rounded), await readAll(stored)];
        for (const i of [0, 1, 2]) deepEqual(found[i], expected[i]);
        const total = (await read(sum(w, 0)))[0];
        ok(Math.abs(found[3][0] - total) <= 1e-5, "sums are of what is not rounded");
        const { steps } = await planOf(autocast("f16", () => [matmul(x, w, { transB: true })]), 0);
        ok(steps.every(({ kernel }) => !kernel.label.includes("cast")));
      }
    }));
}

Deno.test("a value that two products read is cast once", async () => {
  const x = exp(leaf("x", 33, 33));
  const plan = await planOf(
    autocast("f16", () => [
      matmul(x, leaf("a", 33, 33)),
      matmul(x, leaf("b", 33, 33)),
    ]),
    0,
  );
  equal(plan.steps.filter(({ kernel }) => /\bcast\b/.test(kernel.label)).length, 1);
});

Deno.test("f16 tensors beyond the adapter's binding limit have the bits of those within it", async () => {
  const build = () =>
    autocast("f16", () => {
      const x = leaf("long", 64, 200);
      const y = gelu(matmul(x, leaf("w", 200, 200)));
      return [y, ...gradients(mean(y), [x]).map((g) => g!)];
    });
  const whole = await readAll(build());
  deepEqual(await binding(16384, () => readAll(build())), whole);
});

Deno.test("gradients under autocast have the types of what they belong to", async () => {
  const [x, w] = [leaf("x", 3, 4), leaf("w", 4, 4)];
  const [y, loss] = autocast("f16", () => {
    const y = matmul(x, w);
    return [y, mean(layerNorm(maximum(y, 0.1), leaf("g", 4), leaf("b", 4)))];
  });
  const found = gradients(loss, [x, w, y]).map((g) => g!);
  deepEqual(found.map(({ dtype }) => dtype), ["f32", "f32", "f16"]);
  // Inside the scope they are the same.
  const inside = autocast("f16", () => gradients(loss, [x, w, y])).map((g) => g!);
  deepEqual(await readAll(inside), await readAll(found));
  await evaluate([y]);
});

Deno.test("the gradients of Hiera T at 256 px take 0.6 of the memory under autocast", async () => {
  const trunk = new Hiera(CONFIGS["sam2.1_hiera_t"].trunk);
  const images = tensor(new Float32Array(3 * 256 ** 2), [1, 3, 256, 256]);
  const parameters = trunk.namedParameters().map(([, p]) => p);
  const arena = async (precision: "f32" | "f16") => {
    const loss = autocast(
      precision,
      () => trunk.forward(images).map((x) => mean(square(cast(x, "f32")))).reduce(add),
    );
    return (await planOf([loss, ...gradients(loss, parameters).map((g) => g!)], 0)).arenaBytes;
  };
  const [whole, mixed] = [await arena("f32"), await arena("f16")];
  ok(mixed < 0.6 * whole, `${mixed} of ${whole}`);
});

/** A block of a transformer on sequences of eight. */
class Block extends Module {
  readonly embed = new Linear(3, 32);
  readonly norm = new LayerNorm(32);
  readonly qkv = new Linear(32, 96);
  readonly out = new Linear(32, 32);
  readonly head = new Linear(32, 3);

  logits(x: Tensor): Tensor {
    const [batch] = x.shape;
    const y = this.embed.forward(x);
    const heads = reshape(this.qkv.forward(this.norm.forward(y)), [batch, 1, 8, 3, 32]);
    const [q, k, v] = [0, 1, 2].map((i) => select(heads, 3, i));
    const seen = reshape(scaledDotProductAttention(q, k, v), [batch, 8, 32]);
    return mean(this.head.forward(gelu(add(y, this.out.forward(seen)))), 1);
  }
}

/** Mean loss of the last of 60 steps that learn which of three channels holds the largest sum. */
async function trained(precision: "f32" | "f16"): Promise<number> {
  const net = new Block();
  const weights = await FlatParameters.create(net, { seed: 1 });
  const scaler = await GradScaler.create();
  const adam = await AdamW.create(weights, { scaler, weightDecay: 0 });
  const losses: number[] = [];
  for (let step = 0; step < 60; step++) {
    const values = hashValues(`step ${step}`, 32 * 8 * 3, 0, 1);
    const sums = (b: number, c: number) =>
      Array.from({ length: 8 }, (_, t) => values[(b * 8 + t) * 3 + c]).reduce((a, x) => a + x);
    const classes = Uint32Array.from({ length: 32 }, (_, b) => {
      const all = [0, 1, 2].map((c) => sums(b, c));
      return all.indexOf(Math.max(...all));
    });
    const loss = autocast(
      precision,
      () => crossEntropy(net.logits(tensor(values, [32, 8, 3])), tensor(classes)),
    );
    const found = gradients(scaler.scaled(loss), weights.trainable);
    const finish = await submit({ read: [loss], write: weights.gradientTargets(found) });
    adam.update(1e-2);
    losses.push((await finish())[0][0]);
  }
  for (const part of [adam, scaler, weights]) part.destroy();
  return losses.slice(-10).reduce((a, x) => a + x) / 10;
}

Deno.test("a training in f16 reaches the loss of one in f32 within 3 %", async () => {
  const [whole, mixed] = [await trained("f32"), await trained("f16")];
  ok(whole < 0.5, `the loss of the training in f32 is ${whole}`);
  ok(mixed !== whole && Math.abs(mixed / whole - 1) < 0.03, `${mixed}, not ${whole}`);
});
