/** Tensors and buffers beyond what the adapter binds: right in windows, or refused in a sentence. */
import {
  add,
  amax,
  argmax,
  dispose,
  evaluate,
  expand,
  gradients,
  leaf,
  matmul,
  mean,
  mul,
  read,
  relu,
  runtime,
  square,
  submit,
  sum,
  tensor,
} from "../engine/mod.ts";
import { Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, Ema, FlatParameters, GradientAccumulator } from "../engine/optim/mod.ts";
import { binding, onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { hashValues } from "../train/parity/hash.ts";
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

const LIMIT = 2 ** 16;
const values = (name: string, rows: number, columns: number) =>
  tensor(hashValues(name, rows * columns, 0, 1), [rows, columns]);

/** Each weight fits into a binding of {@link LIMIT} bytes; all together take three. */
class Net extends Module {
  readonly layers = [new Linear(90, 120), new Linear(120, 100), new Linear(100, 90)];

  loss() {
    const x = values("x", 20, 90);
    return mean(square(this.layers.reduce((t, layer) => relu(layer.forward(t)), x)));
  }
}

/** Weights, averages and moments after two steps of two micro-batches. */
async function trained() {
  const net = new Net();
  const flat = await FlatParameters.create(net, { seed: 4 });
  const optimizer = await AdamW.create(flat, { clipNorm: 0.5 });
  const ema = await Ema.create(flat);
  const accumulator = await GradientAccumulator.create(flat, 2);
  const { dispatches } = (await runtime()).counters;
  for (let i = 0; i < 4; i++) {
    const found = gradients(net.loss(), flat.trainable);
    await submit({ write: flat.gradientTargets(found) });
    accumulator.add();
    if (i % 2 === 0) continue;
    optimizer.update(1e-2, accumulator.finish());
    ema.update(0.9);
  }
  const counted = (await runtime()).counters.dispatches - dispatches;
  const state = await optimizer.state();
  const result = [await flat.stateDict(), await ema.stateDict(), state.first, state.second];
  for (const part of [accumulator, ema, optimizer, flat]) part.destroy();
  return { result, counted };
}

Deno.test("training is the same where a binding holds a third of the flat buffers", async () => {
  const whole = await trained();
  const windowed = await binding(LIMIT, trained);
  ok(windowed.counted > whole.counted, "there are windows");
  for (const [i, dict] of whole.result.entries()) {
    for (const [key, { data }] of dict) {
      const other = windowed.result[i].get(key)!.data;
      // The norm is summed window by window.
      data.forEach((v, k) => ok(Math.abs(v - other[k]) < 1e-6, `${key}: ${v} ${other[k]}`));
    }
  }
});

Deno.test("evaluate() computes with intermediates beyond a binding where these are not stored", async () => {
  const x = values("row", 1, 3000);
  const long = sum(square(add(expand(x, [50, 3000]), 1)), 0);
  const expected = await read(long);
  deepEqual(await binding(LIMIT, () => read(long)), expected);
  const one = hashValues("row", 3000, 0, 1);
  expected.forEach((v, i) => ok(Math.abs(v - 50 * (one[i] + 1) ** 2) < 1e-3));
});

Deno.test("evaluate() names kernel, bytes and bindings of what takes too many bindings", async () => {
  const { counters } = await runtime();
  const before = { ...counters };
  await rejects(
    binding(LIMIT, () => evaluate([matmul(values("a", 300, 200), values("b", 200, 300))]), 9),
    {
      name: "MemoryError",
      message:
        /^matmul 1x300x200x300 .* works on 820\.3 KiB of GPU memory in 14 bindings of at most 64\.0 KiB; this adapter binds 9 at a time: smaller inputs, or parts of them one after the other, need less\.$/,
    },
  );
  equal(counters.dispatches, before.dispatches);
});

Deno.test("evaluate() fuses less where windows of what it reads would take too many bindings", async () => {
  const leaves = Array.from({ length: 6 }, (_, i) => values(`leaf ${i}`, 200, 100));
  const result = leaves.reduce((a, b) => mul(a, add(b, 1)));
  const { counters } = await runtime();
  const dispatches = async (work: () => Promise<unknown>) => {
    const before = counters.dispatches;
    const value = await work();
    return { value, count: counters.dispatches - before };
  };
  const whole = await dispatches(() => read(result));
  const weak = await dispatches(() => binding(LIMIT, () => read(result), 8));
  deepEqual(weak.value, whole.value);
  equal(whole.count, 1);
  ok(weak.count > 1);
});

Deno.test("submit() writes to windows where a target lies within a buffer", async () => {
  const large = values("large", 200, 100);
  const expected = await read(add(large, 1));
  const rt = await runtime();
  const buffer = rt.createBuffer(256 + expected.byteLength);
  const storage = { buffer, offset: 256 };
  await binding(LIMIT, () => submit({ write: [[add(large, 1), storage]] }));
  deepEqual(
    await binding(LIMIT, () => read(mul(leaf(storage, [200, 100]), 2))),
    expected.map((v) => 2 * v),
  );
  rt.destroyBuffer(buffer);
});

Deno.test("a tensor beyond the adapter's own limit is computed and summed", async () => {
  const { profile } = (await runtime()).device;
  // Beyond the limit of software adapters; others bind it whole.
  const columns = 2 ** 20;
  const rows = 2 ** 25 / columns + 1;
  const cells = Float32Array.from({ length: columns }, (_, i) => i % 7);
  const row = tensor(cells, [1, columns]);
  const column = tensor(Float32Array.from({ length: rows }, (_, i) => i), [rows, 1]);
  const large = add(expand(row, [rows, columns]), column);
  if (profile.class === "cpu") ok(4 * large.size > profile.maxBindingBytes);
  await evaluate([large]);
  const sums = await read(sum(large, 1));
  const base = cells.reduce((a, b) => a + b);
  // Sums of whole numbers below 2^24 * 16: off by what rounding of partial sums makes.
  sums.forEach((v, i) => ok(Math.abs(v - base - i * columns) <= 4, `row ${i}: ${v}`));
  await dispose([large]);
});

Deno.test("tensors of more than 2^30 elements are refused where they are made", () => {
  const column = tensor(new Float32Array(2 ** 10), [2 ** 10, 1]);
  equal(expand(column, [2 ** 10, 2 ** 20]).size, 2 ** 30);
  throws(() => expand(column, [2 ** 10, 2 ** 20 + 1]), {
    name: "RangeError",
    message:
      "expand: a tensor of shape [1024, 1048577] has 1073742848 elements; 1073741824 is the most.",
  });
  const tall = tensor(new Float32Array(2 ** 16), [2 ** 16, 1]);
  throws(() => matmul(tall, tensor(new Float32Array(2 ** 16), [1, 2 ** 16])), /matmul: a tensor/);
  throws(() => mul(tall, tensor(new Float32Array(2 ** 16))), /expand: a tensor/);
});

Deno.test("reductions of more terms than a software adapter's loops have rounds are whole", async () => {
  const [rows, long] = [16, 2 ** 20];
  const x = tensor(Float32Array.from({ length: rows }, (_, i) => i + 1), [rows, 1]);
  const wide = expand(x, [rows, long]);
  const counted = await read(sum(wide, 1));
  deepEqual([...counted], Array.from({ length: rows }, (_, i) => (i + 1) * long));
  const last = Float32Array.from({ length: 2 ** 18 + 3 }, (_, i) => i % 1000);
  last[last.length - 1] = 1000;
  const line = tensor(last, [1, last.length]);
  for (const schedule of SCHEDULES) {
    await onSchedule(schedule, async () => {
      equal((await read(argmax(line, 1)))[0], last.length - 1);
      equal((await read(amax(line, 1)))[0], 1000);
    });
  }
  await rejects(evaluate([argmax(expand(x, [rows, 2 ** 23]), 1)]), {
    name: "RangeError",
    message: "argmax of 8388608 elements: 4194304 is the most.",
  });
});
