/** Tensors and buffers beyond what the adapter binds: right in windows, or refused in a sentence. */
import {
  add,
  amax,
  argmax,
  dispose,
  evaluate,
  expand,
  forgetPlans,
  gradients,
  matmul,
  mean,
  mul,
  read,
  relu,
  repeatInterleave,
  runtime,
  square,
  submit,
  sum,
  tensor,
  useSchedule,
} from "../engine/mod.ts";
import { Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, Ema, FlatParameters, GradientAccumulator } from "../engine/optim/mod.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { hashValues } from "../train/parity/hash.ts";
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";

/** Runs `work` as on an adapter that binds at most `bytes`. */
async function binding<T>(bytes: number, work: () => Promise<T>): Promise<T> {
  const { device } = await runtime();
  const { profile } = device;
  Object.assign(device, { profile: { ...profile, maxBindingBytes: bytes } });
  forgetPlans();
  try {
    return await work();
  } finally {
    Object.assign(device, { profile });
    forgetPlans();
  }
}

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

Deno.test("evaluate() names op, shape and bytes of what exceeds a binding", async () => {
  const [a, b] = [values("a", 200, 70), values("b", 70, 200)];
  const large = values("large", 200, 100);
  const { counters } = await runtime();
  const before = { ...counters };
  const cases = [
    [
      add(large, 1),
      /^add \[200, 100\] needs 78\.1 KiB of GPU memory in one binding; this adapter's hold at most 64\.0 KiB: smaller inputs, or parts of them one after the other, need less\.$/,
    ],
    [sum(large, 1), /^leaf \[200, 100\] needs 78\.1 KiB/],
    [repeatInterleave(values("c", 10, 10), 200, 0), /^\w+ \[[\d, ]+\] needs 78\.1 KiB/],
    [matmul(a, b), /^matmul \[1, 200, 200\] needs 156\.3 KiB/],
  ] as const;
  for (const [target, message] of cases) {
    await rejects(binding(LIMIT, () => evaluate([target])), { name: "MemoryError", message });
  }
  // Memory that results are written to is bound as well.
  const buffer = (await runtime()).createBuffer(200 * 200 * 4);
  const write = [[matmul(a, b), { buffer, offset: 0 }]] as const;
  await rejects(binding(LIMIT, () => submit({ write })), { name: "MemoryError" });
  (await runtime()).destroyBuffer(buffer);
  equal(counters.dispatches, before.dispatches);
  await evaluate([cases[3][0]]);
  await dispose([cases[3][0]]);
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
    useSchedule(schedule);
    equal((await read(argmax(line, 1)))[0], last.length - 1);
    equal((await read(amax(line, 1)))[0], 1000);
  }
  useSchedule(undefined);
  await rejects(evaluate([argmax(expand(x, [rows, 2 ** 23]), 1)]), {
    name: "RangeError",
    message: "argmax of 8388608 elements: 4194304 is the most.",
  });
});
