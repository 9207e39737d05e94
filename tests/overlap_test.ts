/** What requests read and write where memory is shared or has been freed. */
import {
  add,
  arange,
  cast,
  dispose,
  evaluate,
  flip,
  full,
  gradients,
  leaf,
  mul,
  read,
  readAll,
  reserve,
  reshape,
  type Shape,
  slice,
  square,
  type Storage,
  sub,
  submit,
  sum,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { numel } from "../engine/shape.ts";
import { close, values } from "./close.ts";
import { deepStrictEqual as deepEqual } from "node:assert/strict";

/** A leaf in GPU memory, and that memory. */
async function stored(data: Float32Array, shape: Shape): Promise<[Tensor, Storage]> {
  const t = add(tensor(data, shape), 0);
  await evaluate([t]);
  return [leaf(t.storage!, shape), t.storage!];
}

/** Runs a request that only writes. */
const write = async (...writes: (readonly [Tensor, Storage])[]) => {
  await (await submit({ write: writes }))();
};

Deno.test("submit() updates each parameter by gradients of the others as they were", async () => {
  const x = tensor(values(64 * 64, 1), [64, 64]);
  const [a, toA] = await stored(values(64, 2), [64]);
  const [b, toB] = await stored(values(64, 3), [64]);
  const slopes = () => gradients(sum(square(mul(mul(x, a), b))), [a, b]) as [Tensor, Tensor];
  const before = await readAll([a, b, ...slopes()]);
  const [da, db] = slopes();
  // The order in which the gradient of a would be computed last.
  const update = { write: [[sub(b, mul(db, 0.1)), toB], [sub(a, mul(da, 0.1)), toA]] } as const;
  await reserve(update);
  await (await submit(update))();
  const after = await readAll([a, b]);
  after.forEach((found, i) => {
    const expected = Array.from(before[i], (v, at) => v - 0.1 * before[i + 2][at]);
    close(found, expected, 1e-5, `parameter ${i}`);
  });
});

Deno.test("submit() reads the values from before where it writes over them", async () => {
  for (const shape of [[3], [17, 17], [64, 4]]) {
    const own = values(numel(shape), 1);
    const [x, to] = await stored(own, shape);
    const [old] = await (await submit({ write: [[add(x, 1), to]], read: [mul(x, 3)] }))();
    deepEqual(old, own.map((v) => Math.fround(v * 3)));
    const [same] = await (await submit({ write: [[mul(x, 2), to]], read: [x] }))();
    deepEqual(same, own.map((v) => Math.fround(v + 1)));
    await dispose([x]);
  }
});

Deno.test("submit() computes what a request reads anew once its leaves were freed", async () => {
  const x = tensor(Float32Array.of(1, 2, 3), [3]);
  const kept = mul(x, 2);
  await evaluate([kept]);
  const request = { read: [add(kept, 1)] };
  for (let run = 0; run < 3; run++) {
    const [found] = await (await submit(request))();
    deepEqual(Array.from(found), [3, 5, 7]);
    if (run === 1) await dispose([kept]);
  }
});

Deno.test("submit() moves values within the memory that it writes", async () => {
  const side = 130;
  const count = side * side;
  const first = cast(arange(count), "f32");
  await evaluate([first]);
  const to = first.storage!;
  const x = leaf(to, [side, side]);
  await write([reshape(transpose(x, 0, 1), [side, side]), to]);
  const turned = await read(x);
  deepEqual([turned[1], turned[side], turned[side + 2]], [side, 1, 2 * side + 1]);
  await write([reshape(flip(reshape(x, [count]), [0]), [side, side]), to]);
  deepEqual([...await read(slice(reshape(x, [count]), 0, 0, 2))], [count - 1, count - 1 - side]);
});

Deno.test("submit() exchanges values, and may write them to where they are", async () => {
  const [a, toA] = await stored(Float32Array.of(1, 2, 3), [3]);
  const [b, toB] = await stored(Float32Array.of(4, 5, 6), [3]);
  await write([b, toA], [a, toB]);
  deepEqual((await readAll([a, b])).map((v) => [...v]), [[4, 5, 6], [1, 2, 3]]);
  await write([a, toA], [reshape(full([3, 1], 9), [3]), toB]);
  deepEqual((await readAll([a, b])).map((v) => [...v]), [[4, 5, 6], [9, 9, 9]]);
});
