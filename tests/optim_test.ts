import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import {
  add,
  gradients,
  matmul,
  mul,
  read,
  runtime,
  submit,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { filledWith, Module, Parameter, uniform } from "../engine/nn/mod.ts";
import {
  AdamW,
  constantRate,
  cosine,
  Ema,
  emaDecay,
  FlatParameters,
  poly,
} from "../engine/optim/mod.ts";
import { flatWindows } from "../engine/optim/recorded_pass.ts";
import { hashValues } from "../train/parity/hash.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";

const SIZES = [1, 64, 65, 200, 4099];

/** Parameters of awkward sizes with a frozen one in between. */
class Mixed extends Module {
  readonly a = new Parameter([SIZES[0]], uniform(1));
  readonly b = new Parameter([8, 8], uniform(1));
  readonly frozen = new Parameter([7], filledWith(3), false);
  readonly c = new Parameter([SIZES[2]], uniform(1));
  readonly d = new Parameter([10, 20], uniform(1));
  readonly e = new Parameter([SIZES[4]], uniform(1));
}

const KEYS = ["a", "b", "c", "d", "e"];
const RATES: Record<string, number> = { a: 1, b: 0.5, c: 2, d: 1, e: 1 };
const DECAYS: Record<string, number> = { a: 0, b: 0.1, c: 0.01, d: 0.01, e: 0.01 };
const OPTIONS = {
  betas: [0.9, 0.99],
  eps: 1e-6,
  clipNorm: 2,
  rateScale: ({ key }: { key: string }) => RATES[key],
  weightDecay: ({ key }: { key: string }) => DECAYS[key],
} as const;

/** Gradient of a parameter at a step, or undefined: c has one at odd steps only, d never. */
function gradientAt(
  key: string,
  size: number,
  step: number,
): Float32Array<ArrayBuffer> | undefined {
  if (key === "d" || (key === "c" && step % 2 === 0)) return undefined;
  return hashValues(`${key}/${step}`, size, 0.1, step === 3 ? 0.01 : 1);
}

/** A step on the device; the gradients pass through a graph, as in training. */
async function deviceStep(flat: FlatParameters, adam: AdamW, step: number): Promise<void> {
  const found = flat.segments.slice(0, flat.trainableCount).map(({ key, parameter, size }) => {
    const g = gradientAt(key, size, step);
    return g && gradients(sum(mul(parameter, tensor(g, parameter.shape))), [parameter])[0];
  });
  await submit({ write: flat.gradientTargets(found) });
  adam.update(rateAt(step), found.map((g) => g !== undefined));
}

const rateAt = (step: number) => 0.01 / (1 + step);

/** The same in float64 on the host; returns the norms before clipping. */
function referenceSteps(values: Map<string, Float64Array>, steps: number): number[] {
  const [beta1, beta2] = OPTIONS.betas;
  const m = new Map([...values].map(([key, v]) => [key, new Float64Array(v.length)]));
  const v = new Map([...values].map(([key, x]) => [key, new Float64Array(x.length)]));
  const counts = new Map(KEYS.map((key) => [key, 0]));
  const norms: number[] = [];
  for (let step = 0; step < steps; step++) {
    const all = KEYS.map((key) => gradientAt(key, values.get(key)!.length, step));
    const norm = Math.sqrt(all.reduce((n, g) => n + (g?.reduce((s, x) => s + x * x, 0) ?? 0), 0));
    norms.push(norm);
    const factor = Math.min(1, OPTIONS.clipNorm / (norm + 1e-6));
    KEYS.forEach((key, k) => {
      const g = all[k];
      if (!g) return;
      const count = counts.get(key)! + 1;
      counts.set(key, count);
      const [p, first, second] = [values.get(key)!, m.get(key)!, v.get(key)!];
      const rate = rateAt(step) * RATES[key];
      for (let i = 0; i < p.length; i++) {
        const x = g[i] * factor;
        first[i] = beta1 * first[i] + (1 - beta1) * x;
        second[i] = beta2 * second[i] + (1 - beta2) * x * x;
        const mean = first[i] / (1 - beta1 ** count);
        const deviation = Math.sqrt(second[i] / (1 - beta2 ** count)) + OPTIONS.eps;
        p[i] -= rate * DECAYS[key] * p[i] + rate * mean / deviation;
      }
    });
  }
  return norms;
}

for (const schedule of SCHEDULES) {
  Deno.test(`AdamW.update() follows the definition over mixed segments on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const flat = await FlatParameters.create(new Mixed(), { seed: 5 });
      const start = await flat.stateDict();
      const expected = new Map(KEYS.map((key) => [key, Float64Array.from(start.get(key)!.data)]));
      // Windows of one step each: the large parameter spans two.
      const adam = await AdamW.create(flat, { ...OPTIONS, windowBytes: 4096 * 4 });
      const norms: number[] = [];
      for (let step = 0; step < 5; step++) {
        await deviceStep(flat, adam, step);
        norms.push(await adam.gradientNorm());
      }
      const wanted = referenceSteps(expected, 5);
      norms.forEach((n, i) => ok(Math.abs(n - wanted[i]) < 1e-5 * wanted[i], `${n} ${wanted[i]}`));
      const end = await flat.stateDict();
      for (const key of KEYS) {
        end.get(key)!.data.forEach((p, i) => {
          const e = expected.get(key)![i];
          ok(Math.abs(p - e) < 2e-6, `${key}[${i}]: ${p} ${e}`);
        });
      }
      deepEqual(end.get("d"), start.get("d"));
      deepEqual(end.get("frozen"), start.get("frozen"));
      adam.destroy();
      flat.destroy();
    }));
}

Deno.test("AdamW.load() continues bit for bit", async () => {
  const train = async (flat: FlatParameters, adam: AdamW, from: number, to: number) => {
    for (let step = from; step < to; step++) await deviceStep(flat, adam, step);
  };
  const whole = await FlatParameters.create(new Mixed());
  const first = await AdamW.create(whole, OPTIONS);
  await train(whole, first, 0, 3);
  const [values, state] = [await whole.stateDict(), await first.state()];
  equal(state.step, 3);
  await train(whole, first, 3, 6);

  const resumed = await FlatParameters.create(new Mixed(), { values });
  const second = await AdamW.create(resumed, OPTIONS);
  second.load(state);
  await train(resumed, second, 3, 6);
  equal(second.step, 6);
  deepEqual(await resumed.stateDict(), await whole.stateDict());
  deepEqual(await second.state(), await first.state());
  for (const part of [first, second]) part.destroy();
  for (const part of [whole, resumed]) part.destroy();
});

Deno.test("AdamW's norm counts a gradient that two parameters share, and nothing beside it", async () => {
  class Pair extends Module {
    readonly a = new Parameter([3], filledWith(1));
    readonly b = new Parameter([3], filledWith(1));
  }
  const pair = new Pair();
  const flat = await FlatParameters.create(pair);
  const adam = await AdamW.create(flat, { weightDecay: 0 });
  // What is in the arena before must not get into the padding between the gradients.
  const ones = tensor(new Float32Array(64).fill(1), [8, 8]);
  await read(matmul(matmul(ones, ones), ones));
  const found = gradients(sum(mul(add(pair.a, pair.b), tensor([2, 4, 5]))), flat.trainable);
  equal(found[0], found[1]);
  await submit({ write: flat.gradientTargets(found) });
  adam.update(0.1);
  ok(Math.abs(await adam.gradientNorm() - Math.sqrt(2 * 45)) < 1e-5);
  adam.destroy();
  flat.destroy();
});

Deno.test("AdamW.update() leaves gradients of a step that was given up out of the norm", async () => {
  const named = ["a", "b"].map((key) => [key, new Parameter([1], filledWith(1))] as const);
  const flat = await FlatParameters.create(named);
  const adam = await AdamW.create(flat, { clipNorm: 1 });
  await submit({ write: flat.gradientTargets([tensor([3]), tensor([400])]) });
  await submit({ write: flat.gradientTargets([tensor([3]), undefined]) });
  adam.update(0.1, [true, false]);
  equal(await adam.gradientNorm(), 3);
  adam.destroy();
  flat.destroy();
});

Deno.test("AdamW.update() creates no buffers and no bind groups", async () => {
  const flat = await FlatParameters.create(new Mixed());
  const adam = await AdamW.create(flat, OPTIONS);
  const { counters } = await runtime();
  adam.update(0.1);
  const before = { ...counters };
  for (let i = 0; i < 3; i++) adam.update(0.1, KEYS.map((_, k) => k !== i));
  equal(counters.buffersCreated, before.buffersCreated);
  equal(counters.bindGroupsCreated, before.bindGroupsCreated);
  equal(counters.submits - before.submits, 3);
  // Two for the norm, one for the counts of updates, and the update.
  equal(counters.dispatches - before.dispatches, 4 * 3);
  adam.destroy();
  flat.destroy();
});

Deno.test("optimiser state is freed by destroy()", async () => {
  const { counters } = await runtime();
  const before = counters.liveBytes;
  const flat = await FlatParameters.create(new Mixed());
  const adam = await AdamW.create(flat, OPTIONS);
  const ema = await Ema.create(flat);
  ok(flat.gradients.size > 0);
  adam.update(0.1);
  ok(counters.liveBytes > before);
  for (const part of [ema, adam, flat]) part.destroy();
  equal(counters.liveBytes, before);
});

Deno.test("AdamW counts the updates of each parameter by itself, also from a saved state", async () => {
  const create = () => {
    const named = ["a", "b"].map((key) => [key, new Parameter([1], filledWith(1))] as const);
    return FlatParameters.create(named);
  };
  const steps = [[0.5, undefined], [-0.2, undefined], [0.3, 0.4], [0.1, undefined], [1, -0.3]];
  let flat = await create();
  let adam = await AdamW.create(flat);
  for (const [i, step] of steps.entries()) {
    if (i === 3) {
      const [values, state] = [await flat.stateDict(), await adam.state()];
      deepEqual([state.step, state.steps], [3, { b: 1 }]);
      for (const part of [adam, flat]) part.destroy();
      flat = await create();
      adam = await AdamW.create(flat);
      flat.write(values);
      adam.load(state);
    }
    const found = step.map((g) => g === undefined ? undefined : tensor([g]));
    await submit({ write: flat.gradientTargets(found) });
    adam.update(0.1, found.map((g) => g !== undefined));
  }
  const values = await flat.stateDict();
  // From PyTorch.
  ok(Math.abs(values.get("a")!.data[0] - 0.6831934) < 1e-6);
  ok(Math.abs(values.get("b")!.data[0] - 0.8891685) < 1e-6);
  for (const part of [adam, flat]) part.destroy();
});

Deno.test("AdamW.create() refuses moments that do not decay", async () => {
  const flat = await FlatParameters.create(new Mixed());
  const created = AdamW.create(flat, { betas: [0.9, 1] });
  await rejects(created, /^RangeError: AdamW: betas of 0.9 and 1 are not in \[0, 1\)\.$/);
  flat.destroy();
});

Deno.test("FlatParameters.create() binds parameters, trainable ones first", async () => {
  const module = new Mixed();
  const flat = await FlatParameters.create(module, { seed: 1 });
  deepEqual(flat.segments.map((s) => s.key), [...KEYS, "frozen"]);
  const alignment = (await runtime()).device.offsetAlignment;
  for (const { start } of flat.segments) equal((start * 4) % alignment, 0);
  const values = await flat.stateDict();
  deepEqual(await read(module.c), values.get("c")!.data);
  deepEqual([...values.get("frozen")!.data], new Array(7).fill(3));
  const doubled = values.get("c")!.data.map((v) => 2 * v);
  flat.write(new Map([["c", { shape: [SIZES[2]], data: doubled }]]));
  deepEqual(await read(module.c), doubled);
  flat.destroy();
  equal(module.c.storage, undefined);
});

Deno.test("FlatParameters names what does not fit", async () => {
  const wrong = new Map([["b", { shape: [64], data: new Float32Array(64) }]]);
  await rejects(FlatParameters.create(new Mixed(), { values: wrong }), /b has shape \[64\]/);
  const flat = await FlatParameters.create(new Mixed());
  throws(() => flat.gradientTargets([]), /0 gradients for 5/);
  const shapes: Tensor[] = KEYS.map(() => tensor([1]));
  throws(() => flat.gradientTargets(shapes), /gradient of b has shape \[1\]/);
  const entry = (shape: readonly number[], length: number) => ({
    shape,
    data: new Float32Array(length).fill(9),
  });
  const before = await flat.stateDict();
  const [a, c] = [entry([1], 1), entry([SIZES[2]], 200)];
  throws(() => flat.write(new Map([["a", a], ["x", a]])), /There is no parameter "x"/);
  throws(() => flat.write(new Map([["a", a], ["c", c]])), /c has 200 values; shape \[65\] has 65/);
  deepEqual(await flat.stateDict(), before);
  const long = new Map([["c", c]]);
  await rejects(
    FlatParameters.create(new Mixed(), { values: long }),
    /c has 200 values; shape \[65\] has 65/,
  );
  const adam = await AdamW.create(flat);
  const first = new Map([["frozen", entry([7], 7)]]);
  throws(
    () => adam.load({ step: 1, first, second: new Map() }),
    /There is no trained parameter "frozen"/,
  );
  adam.destroy();
  flat.destroy();
});

Deno.test("FlatParameters.create() refuses one parameter under two keys", async () => {
  const weight = new Parameter([2], uniform(1));
  await rejects(
    FlatParameters.create([["a", weight], ["b", weight]]),
    /^RangeError: FlatParameters: "a" and "b" are one parameter; tied weights are not supported\.$/,
  );
  equal(weight.storage, undefined);
});

Deno.test("Ema.update() moves towards the values, and another module can read it", async () => {
  const [student, teacher] = [new Mixed(), new Mixed()];
  const flat = await FlatParameters.create(student);
  const ema = await Ema.create(flat);
  ema.bind(teacher);
  const start = (await flat.stateDict()).get("b")!;
  deepEqual(await read(teacher.b), start.data);
  const moved = start.data.map((v) => v + 1);
  flat.write(new Map([["b", { shape: start.shape, data: moved }]]));
  ema.update(0.75);
  const average = await read(teacher.b);
  average.forEach((v, i) => ok(Math.abs(v - start.data[i] - 0.25) < 1e-6));
  ema.update(emaDecay(0));
  deepEqual(await read(teacher.b), moved);
  const saved = await ema.stateDict();
  ema.update(0.5);
  ema.load(saved);
  deepEqual(await ema.stateDict(), saved);
  ema.destroy();
  flat.destroy();
});

Deno.test("emaDecay() grows to its limit", () => {
  deepEqual([0, 1, 3, 100000].map((i) => emaDecay(i)), [0, 0.5, 0.75, 0.996]);
  equal(emaDecay(100000, 0.99), 0.99);
});

Deno.test("schedules warm up linearly and decay to their end", () => {
  const half = cosine({ steps: 12, warmup: 2, final: 0.1 });
  deepEqual([0, 1].map(half), [0.5, 1]);
  ok(Math.abs(half(2) - 1) < 1e-12 && Math.abs(half(7) - 0.55) < 1e-12);
  ok(Math.abs(half(12) - 0.1) < 1e-12 && half(50) === half(12));
  const power = poly({ steps: 10 });
  ok(Math.abs(power(5) - 0.5 ** 0.9) < 1e-12);
  equal(power(10), 0);
  equal(constantRate(7), 1);
  throws(() => cosine({ steps: 5, warmup: 6 }), /5 steps cannot have 6/);
});

Deno.test("flatWindows() covers the length in parts that a binding holds", () => {
  deepEqual(flatWindows(10000, 4096 * 4 * 2 + 100), [
    { start: 0, length: 8192 },
    { start: 8192, length: 1808 },
  ]);
  deepEqual(flatWindows(64, 2 ** 27), [{ start: 0, length: 64 }]);
});
