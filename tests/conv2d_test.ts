import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";
import {
  conv2d,
  convTranspose2d,
  gradients,
  read,
  square,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { convInputReference, convReference } from "./conv_reference.ts";
import { checkGradients } from "./gradcheck.ts";

const make = (shape: number[], seed = 1) =>
  tensor(values(shape.reduce((n, size) => n * size, 1), seed), shape);

function withBias(plain: Float64Array, bias: Tensor, pixels: number): Float64Array {
  return plain.map((value, i) => value + bias.host![Math.floor(i / pixels) % bias.size]);
}

Deno.test("conv2d() takes uneven strides and paddings when they are pairs", async () => {
  const [x, weight, bias] = [make([2, 4, 7, 9], 1), make([6, 2, 3, 2], 2), make([6], 3)];
  const options = { stride: [2, 1], padding: [1, 2], groups: 2 } as const;
  const y = conv2d(x, weight, bias, options);
  deepEqual(y.shape, [2, 6, 4, 12]);
  const shape = {
    batch: 2,
    channels: 4,
    height: 7,
    width: 9,
    filters: 6,
    kernel: [3, 2],
    ...options,
  } as const;
  const plain = convReference(shape, x.host as Float32Array, weight.host as Float32Array);
  close(await read(y), withBias(plain, bias, 48), 1e-5, "conv2d with bias");
});

Deno.test("conv2d() has gradients when the stride is 1, the kernel 1 x 1, or depthwise", async () => {
  const cases: [string, number[], number[], Parameters<typeof conv2d>[3]][] = [
    ["3x3", [2, 3, 4, 5], [4, 3, 3, 3], { padding: 1 }],
    ["1x1", [2, 3, 4, 4], [5, 3, 1, 1], {}],
    ["depthwise", [1, 3, 5, 6], [3, 1, 3, 3], { padding: 1, groups: 3 }],
  ];
  for (const [name, x, weight, options] of cases) {
    await checkGradients(`conv2d ${name}`, {
      inputs: [{ shape: x }, { shape: weight }, { shape: [weight[0]] }],
      f: (x, weight, bias) => conv2d(x, weight, bias, options),
    });
  }
});

Deno.test("convTranspose2d() inverts the shape of conv2d when kernel and stride agree", async () => {
  const [x, weight, bias] = [make([2, 3, 4, 5], 1), make([3, 2, 2, 3], 2), make([2], 3)];
  const y = convTranspose2d(x, weight, bias, { stride: [2, 3] });
  deepEqual(y.shape, [2, 2, 8, 15]);
  const shape = {
    batch: 2,
    channels: 2,
    height: 8,
    width: 15,
    filters: 3,
    kernel: [2, 3],
    stride: [2, 3],
    padding: [0, 0],
    groups: 1,
  } as const;
  const plain = convInputReference(shape, x.host as Float32Array, weight.host as Float32Array);
  close(await read(y), withBias(plain, bias, 120), 1e-5, "convTranspose2d with bias");
});

Deno.test("convTranspose2d() has gradients when batched", async () => {
  await checkGradients("convTranspose2d", {
    inputs: [{ shape: [2, 3, 2, 3] }, { shape: [3, 4, 2, 2] }, { shape: [4] }],
    f: (x, weight, bias) => convTranspose2d(x, weight, bias, { stride: 2 }),
  });
});

Deno.test("conv2d() throws when shapes do not fit", () => {
  const x = make([1, 4, 5, 5]);
  throws(() => conv2d(x, make([2, 3, 3, 3])), /weights of \[2, 3, 3, 3\] do not fit/);
  throws(() => conv2d(x, make([2, 4, 7, 7])), /7x7 kernel does not fit an input of 5x5/);
  throws(() => conv2d(x, make([2, 4, 3, 3]), make([3])), /bias of \[3\] for 2 channels/);
  throws(() => conv2d(x, make([3, 2, 1, 1]), undefined, { groups: 2 }), /2 groups do not divide/);
  throws(() => convTranspose2d(x, make([4, 2, 3, 3]), undefined, { stride: 2 }), /stride 2x2/);
});

Deno.test("conv2d() refuses second derivatives when they are asked for", () => {
  const [x, weight] = [make([1, 1, 4, 4], 1), make([1, 1, 3, 3], 2)];
  const [first] = gradients(sum(square(conv2d(x, weight))), [x]);
  throws(() => gradients(sum(square(first!)), [weight]), /second derivatives/);
});
