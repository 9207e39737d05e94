/** Arguments that ops refuse: one sentence with names and numbers, never a shader error. */
import {
  arange,
  batchNorm2d,
  bceWithLogits,
  cast,
  cat,
  conv2d,
  crossEntropy,
  diceLoss,
  embedding,
  gradients,
  indexSelect,
  interpolate,
  layerNorm,
  layerNorm2d,
  linear,
  maxPool2d,
  narrow,
  ones,
  read,
  repeatInterleave,
  scaledDotProductAttention,
  select,
  sigmoidFocalLoss,
  slice,
  split,
  stack,
  sum,
  takeAlong,
  tensor,
  tile,
  variance,
  windowPartition,
  zeros,
} from "../engine/mod.ts";
import { deepStrictEqual as deepEqual, rejects, throws } from "node:assert/strict";

const vector = tensor([1, 2, 3, 4, 5]);
const matrix = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
const image = ones([1, 2, 4, 4]);
const weight = ones([2, 2, 3, 3]);
const index = (...rows: readonly number[]) => tensor(Int32Array.from(rows));

const REFUSED: readonly (readonly [() => unknown, RegExp])[] = [
  [() => tensor([], [0, 3]), /^RangeError: leaf: \[0, 3\] is the shape of no tensor/],
  [() => zeros([-1]), /^RangeError: constant: \[-1\] is the shape of no tensor/],
  [() => zeros([1.5]), /^RangeError: constant: \[1.5\] is the shape of no tensor/],
  [() => tensor([1, 2], [3]), /^RangeError: tensor: shape \[3\] does not fit 2 values/],
  [() => sum(zeros([0, 3]), 0), /^RangeError: sum: \[0, 3\] is the shape of no tensor/],
  [() => cat([zeros([0, 3]), matrix], 0), /^RangeError: cat: \[0, 3\] is the shape of no/],
  [
    () => tensor(new Uint8Array(2) as unknown as Uint32Array),
    /^TypeError: No tensor holds the elements of \[object Uint8Array\]; convert it/,
  ],
  [() => arange(5, [3]), /^RangeError: arange: shape \[3\] does not fit 5/],
  [() => select(vector, 0, -7), /^RangeError: select: dimension 0 of \[5\] .* from -7/],
  [() => select(vector, 0, 5), /^RangeError: select: dimension 0 of \[5\] .* from 5/],
  [() => select(vector, 0, 1.5), /^RangeError: select: .* from 1.5/],
  [() => narrow(vector, 0, 3, 10), /^RangeError: narrow: .* have 10 element\(s\) from 3/],
  [() => split(vector, [0, 5], 0), /^RangeError: narrow: .* have 0 element\(s\)/],
  [() => slice(vector, 0, 0.5), /^RangeError: slice: a bound is 0.5, not a whole number\./],
  [() => slice(vector, 0, 0, 5, 0), /^RangeError: slice: the step is 0, .* at least 1\./],
  [() => slice(vector, 0, 3, 3), /^RangeError: slice: .* is empty/],
  [() => cat([], 0), /^RangeError: cat: there is no tensor to join/],
  [() => stack([], 0), /^RangeError: cat: there is no tensor to join/],
  [() => tile(matrix, [0, 2]), /^RangeError: tile: a number of repeats is 0/],
  [() => repeatInterleave(matrix, 1.5, 0), /^RangeError: repeatInterleave: .* is 1.5/],
  [() => indexSelect(matrix, 0, index(1, 2)), /^RangeError: indexSelect: 2 is not from 0 to 1/],
  [() => indexSelect(matrix, 1, index(-1)), /^RangeError: indexSelect: -1 is not from 0 to 2/],
  [() => embedding(matrix, index(7)), /^RangeError: embedding: 7 is not from 0 to 1/],
  [
    () => takeAlong(matrix, 1, tensor(Uint32Array.of(0, 3), [2, 1])),
    /^RangeError: takeAlong: 3 is not from 0 to 2/,
  ],
  [
    () => crossEntropy(matrix, tensor(Uint32Array.of(0, 3))),
    /^RangeError: crossEntropy: 3 is not from 0 to 2/,
  ],
  [() => conv2d(image, weight, undefined, { stride: 0 }), /^RangeError: conv2d: the stride is 0/],
  [() => conv2d(image, weight, undefined, { stride: [1, 1.5] }), /conv2d: the stride is 1.5/],
  [() => conv2d(image, weight, undefined, { padding: -1 }), /conv2d: the padding is -1/],
  [() => conv2d(image, weight, undefined, { groups: 0 }), /conv2d: the number of groups is 0/],
  [() => conv2d(image, weight, ones([2, 1])), /^RangeError: conv2d: a bias of \[2, 1\]/],
  [() => maxPool2d(image, { kernel: 0 }), /^RangeError: maxPool2d: the kernel is 0/],
  [() => maxPool2d(image, { kernel: 2, stride: 0.5 }), /maxPool2d: the stride is 0.5/],
  [() => windowPartition(image, 0), /^RangeError: windowPartition: the window is 0/],
  [
    () => interpolate(image, { size: [2, 2], mode: "area" as "nearest" }),
    /^RangeError: interpolate: the mode "area" is not one of nearest, bilinear, bicubic/,
  ],
  [() => linear(matrix, ones([4, 3]), ones([3])), /^RangeError: linear: a bias of \[3\] for 4/],
  [
    () =>
      batchNorm2d(image, ones([3]), ones([2]), { mean: ones([2]), variance: ones([2]) }, {
        training: true,
      }),
    /^RangeError: batchNorm2d: .* of \[3\], \[2\], \[2\], \[2\] do not fit \[1, 2, 4, 4\]/,
  ],
  [
    () => variance(tensor([3]), 0, false, { unbiased: true }),
    /^RangeError: variance: one value has no unbiased variance/,
  ],
  [
    () => layerNorm(matrix, tensor(Uint32Array.of(1, 2, 3)), ones([3])),
    /^TypeError: layerNorm: the tensor is u32, neither f32 nor f16/,
  ],
  [
    () => layerNorm2d(vector, ones([1]), ones([1])),
    /^RangeError: layerNorm2d: \[5\] is not \[B, C, H, W\]/,
  ],
  [
    () =>
      scaledDotProductAttention(image, image, image, { mask: tensor(Uint32Array.of(1, 0, 1, 1)) }),
    /^TypeError: scaledDotProductAttention: a mask of u32 cannot be added to scores/,
  ],
  [
    () => cat([matrix, cast(matrix, "f16")], 0),
    /^RangeError: cat: f16 \[2, 3\] does not join f32 \[2, 3\] along 0/,
  ],
  [
    () => gradients(sum(tensor(Uint32Array.of(1, 2))), []),
    /^TypeError: gradients: the tensor is u32, neither f32 nor f16/,
  ],
  ...[bceWithLogits, diceLoss, sigmoidFocalLoss].map((loss) =>
    [
      () => loss(matrix, ones([3])),
      /^RangeError: \w+: \[2, 3\] and \[3\] differ in shape/,
    ] as const
  ),
];

Deno.test("ops refuse arguments that make no sense in a sentence", () => {
  for (const [call, message] of REFUSED) throws(call, message, String(call));
});

Deno.test("read() refuses an empty constant", async () => {
  await rejects(
    read(zeros([1, 0, 16])),
    /^RangeError: A tensor of shape \[1, 0, 16\] has no values/,
  );
});

Deno.test("narrow() and select() count from the end when the start is negative", async () => {
  deepEqual([...await read(narrow(vector, 0, -2, 2))], [4, 5]);
  deepEqual([...await read(select(matrix, -1, -1))], [3, 6]);
});
