import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { canonicalise } from "../engine/compile/graph.ts";
import {
  add,
  arange,
  cast,
  gradients,
  mul,
  permute,
  readAll,
  relu,
  reshape,
  select,
  square,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";

const numbers = (shape: readonly number[]) => add(cast(arange(6, shape), "f32"), 1);

async function slopes(loss: Tensor, wanted: readonly Tensor[]): Promise<number[][]> {
  const found = await readAll(gradients(loss, wanted).map((g) => g!));
  return found.map((values) => [...values]);
}

Deno.test("gradients() of a reshaped tensor count what is made of it by further reshapes", async () => {
  const x = numbers([2, 3]);
  const y = reshape(x, [3, 2]);
  const scaled = mul(reshape(y, [2, 3]), tensor([1, 10, 100]));
  const loss = add(sum(scaled), sum(square(mul(permute(permute(y, [1, 0]), [1, 0]), y))));
  // From PyTorch.
  const expected = [5, 42, 208, 257, 510, 964];
  deepEqual(await slopes(loss, [y, x]), [expected, expected]);
});

Deno.test("gradients() of a permuted tensor count what is made of it by further permutations", async () => {
  const x = numbers([2, 3]);
  const y = permute(x, [1, 0]);
  const back = reshape(permute(y, [1, 0]), [6]);
  const loss = add(sum(mul(back, cast(arange(6), "f32"))), sum(select(y, 0, 1)));
  // From PyTorch.
  deepEqual(await slopes(loss, [y, x]), [[0, 3, 2, 5, 2, 5], [0, 2, 2, 3, 5, 5]]);
});

Deno.test("canonicalise() joins movement of movement, and leaves out what nothing reads then", () => {
  const x = tensor(new Float32Array(24), [2, 3, 4]);
  const ops = (t: Tensor) => canonicalise([t]).nodes.map(({ op }) => op);
  const turned = permute(permute(x, [2, 0, 1]), [2, 0, 1]);
  deepEqual(ops(relu(reshape(reshape(x, [24]), [4, 6]))), ["leaf", "reshape", "relu"]);
  deepEqual(ops(relu(turned)), ["leaf", "permute", "relu"]);
  deepEqual(ops(relu(permute(turned, [2, 0, 1]))), ["leaf", "relu"]);
  deepEqual(ops(relu(reshape(permute(turned, [2, 0, 1]), [24]))), ["leaf", "reshape", "relu"]);
  deepEqual(canonicalise([permute(turned, [2, 0, 1]), x]).nodes.length, 1);
});
