/** Memory that requests and optimisers use: freed before, too small, or given twice. */
import {
  add,
  constant,
  dispose,
  evaluate,
  forgetPlans,
  leaf,
  mul,
  read,
  readAll,
  reserve,
  runtime,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { initialise, Linear, loadStateDict, stateDict } from "../engine/nn/mod.ts";
import { AdamW, Ema, FlatParameters, GradientAccumulator } from "../engine/optim/mod.ts";
import {
  deepStrictEqual as deepEqual,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

const FREED = { name: "RangeError", message: /memory that this needs has been freed/ };

const filled = (size: number, value = 1) => tensor(new Float32Array(size).fill(value));

async function kept(size: number): Promise<Tensor> {
  const t = add(filled(size), 1);
  await evaluate([t]);
  return t;
}

/** Checks that nothing of what was refused reached the adapter: it would fail for good. */
async function stillWorks(): Promise<void> {
  deepEqual([...await read(add(filled(3), 4))], [5, 5, 5]);
  equal((await runtime()).failure, undefined);
}

/** Checks that work frees all that it allocates. */
async function freesAll(work: () => Promise<void>): Promise<void> {
  const { counters } = await runtime();
  await work();
  await forgetPlans();
  const before = counters.liveBytes;
  await work();
  await forgetPlans();
  equal(counters.liveBytes, before);
}

Deno.test("submit() refuses memory that was freed, on a plan that is new or kept", async () => {
  for (const known of [false, true]) {
    const t = await kept(5);
    const other = leaf(t.storage!, t.shape);
    const to = t.storage!;
    const reads = { read: [mul(other, 3)] };
    const writes = { write: [[add(filled(5), 2), to]] } as const;
    if (known) { for (const request of [reads, writes]) await (await submit(request))(); }
    await dispose([t]);
    for (const request of [reads, writes]) await rejects(submit(request), FREED);
  }
  await stillWorks();
});

Deno.test("submit() refuses memory that values do not fit in, on a plan that is new or kept", async () => {
  const [small, large] = [await kept(3), await kept(300)];
  const fits = (to: Tensor) => (submit({ write: [[mul(filled(300), 2), to.storage!]] }));
  await rejects(
    fits(small),
    /\[300\] takes 1200 bytes, which do not fit at byte 0 of a buffer of 16/,
  );
  await fits(large);
  await rejects(fits(small), RangeError);
  const { buffer } = large.storage!;
  await rejects(read(leaf({ buffer, offset: 0 }, [301])), RangeError);
  await rejects(read(mul(leaf({ buffer, offset: 256 }, [300]), 2)), RangeError);
  await rejects(read(leaf({ buffer, offset: 4 }, [3])), /cannot lie at byte 4 of its buffer/);
  deepEqual([...await read(small)], [2, 2, 2]);
  await dispose([small, large]);
  await stillWorks();
});

Deno.test("read() refuses a leaf without values, or with more or fewer than its shape", async () => {
  const layer = new Linear(2, 1);
  await rejects(read(layer.forward(filled(2))), /A leaf of shape \[1, 2\] has no values/);
  const data = new Float32Array(6);
  const t = tensor(data);
  structuredClone(data, { transfer: [data.buffer] });
  await rejects(read(add(t, 1)), /A leaf of shape \[6\] has 0 values; it needs 6/);
  await stillWorks();
});

Deno.test("submit() of a request whose leaf from the host was kept and freed uploads it again", async () => {
  const x = filled(3, 2);
  await evaluate([x]);
  const request = { read: [mul(x, 2)] };
  for (let run = 0; run < 3; run++) {
    deepEqual((await (await submit(request))()).map((v) => [...v]), [[4, 4, 4]]);
    if (run === 0) await dispose([x]);
    if (run === 1) await evaluate([x]);
  }
  await dispose([x]);
});

Deno.test("submit() gives its values again where they are asked for twice", async () => {
  const first = await submit({ read: [add(filled(3), 1)] });
  const found = await Promise.all([first(), first()]);
  const second = await submit({ read: [add(filled(3), 5)] });
  deepEqual([...found, await first()].map(([v]) => [...v]), Array(3).fill([2, 2, 2]));
  deepEqual([...(await second())[0]], [6, 6, 6]);
});

Deno.test("evaluate() and dispose() of a constant leave nothing", () =>
  freesAll(async () => {
    const table = constant([1, 2, 3]);
    await evaluate([table, table]);
    deepEqual([...await read(mul(table, 2))], [2, 4, 6]);
    await dispose([table]);
  }));

Deno.test("dispose() frees memory once where several tensors share it", () =>
  freesAll(async () => {
    const t = await kept(7);
    await dispose([t, leaf(t.storage!, [7]), t]);
  }));

Deno.test("dispose() refuses a part of a buffer", async () => {
  const layer = new Linear(2, 1);
  const flat = await FlatParameters.create(layer);
  const other = await kept(3);
  await rejects(dispose([other, layer.weight]), /\[1, 2\] is a part of a buffer/);
  await readAll([other, layer.weight]);
  await dispose([other]);
  flat.destroy();
});

Deno.test("reserve() counts what a request keeps", async () => {
  await forgetPlans();
  const { arena, targets, peak } = await reserve({ keep: [mul(filled(1024), 2)] });
  deepEqual([arena, targets, peak], [0, 4096, 8192]);
});

Deno.test("optimisers and averages refuse to work once they or their parameters are destroyed", async () => {
  const make = async () => {
    const flat = await FlatParameters.create(new Linear(2, 1));
    const sums = await GradientAccumulator.create(flat, 2);
    return { flat, optimizer: await AdamW.create(flat), ema: await Ema.create(flat), sums };
  };
  const parts = await make();
  for (const part of [parts.optimizer, parts.ema, parts.sums]) part.destroy();
  throws(() => parts.optimizer.update(1e-3), FREED);
  await rejects(parts.optimizer.state(), FREED);
  throws(() => parts.ema.update(0.5), FREED);
  await rejects(parts.ema.stateDict(), FREED);
  throws(() => parts.sums.add(), FREED);
  parts.flat.destroy();

  const { flat, optimizer, ema, sums } = await make();
  const values = await flat.stateDict();
  flat.destroy();
  throws(() => optimizer.update(1e-3), FREED);
  throws(() => ema.update(0.5), FREED);
  throws(() => sums.add(), FREED);
  throws(() => flat.gradients, FREED);
  throws(() => flat.write(values), FREED);
  await rejects(flat.stateDict(), FREED);
  for (const part of [optimizer, ema, sums]) part.destroy();
  await stillWorks();
});

Deno.test("destroy() a second time frees nothing more", () =>
  freesAll(async () => {
    const flat = await FlatParameters.create(new Linear(2, 1));
    const optimizer = await AdamW.create(flat);
    for (let i = 0; i < 2; i++) {
      optimizer.destroy();
      flat.destroy();
    }
  }));

Deno.test("Ema.destroy() unbinds what reads the averages", async () => {
  const [student, teacher] = [new Linear(2, 1), new Linear(2, 1)];
  const flat = await FlatParameters.create(student, { seed: 1 });
  const ema = await Ema.create(flat);
  ema.bind(teacher);
  const values = await stateDict(teacher);
  ema.destroy();
  await rejects(read(teacher.weight), /has no values/);
  await loadStateDict(teacher, values);
  deepEqual(await read(teacher.weight), await read(student.weight));
  flat.destroy();
});

Deno.test("FlatParameters.create() that fails leaves parameters as they were, and no memory", async () => {
  const layer = new Linear(2, 3);
  await initialise(layer, 1);
  const before = await read(layer.weight);
  await freesAll(async () => {
    const bias = { shape: [4], data: new Float32Array(4) };
    await rejects(
      FlatParameters.create(layer, { values: new Map([["bias", bias]]) }),
      /bias has shape \[4\]/,
    );
    const get = () => {
      throw new Error("the file ends");
    };
    await rejects(FlatParameters.create(layer, { values: { get } }), /the file ends/);
  });
  deepEqual(await read(layer.weight), before);
});

Deno.test("values that are not as many as their shape has are refused before anything is written", async () => {
  const layer = new Linear(2, 3);
  const flat = await FlatParameters.create(layer);
  const before = await flat.stateDict();
  const weight = { shape: [3, 2], data: new Float32Array(67) };
  const bias = { shape: [3], data: new Float32Array(3).fill(9) };
  const values = new Map([["bias", bias], ["weight", weight]]);
  throws(() => flat.write(values), /weight has 67 values; shape \[3, 2\] has 6/);
  await rejects(loadStateDict(layer, values), RangeError);
  await rejects(FlatParameters.create(layer, { values }), RangeError);
  const turned = new Map([["bias", bias], ["weight", {
    shape: [2, 3],
    data: new Float32Array(6),
  }]]);
  throws(() => flat.write(turned), /weight has shape \[2, 3\]; the model needs \[3, 2\]/);
  deepEqual(await flat.stateDict(), before);
  flat.destroy();
});
