import { add, gradients, mean, relu, runtime, square, sub, submit, tensor } from "../engine/mod.ts";
import { Conv2d, LayerNorm2d, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters, GradientAccumulator } from "../engine/optim/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { deepStrictEqual as deepEqual, ok, rejects, throws } from "node:assert/strict";

const SIDE = 9;
const pixels = SIDE * SIDE;

/** A net without batch normalisation: images do not see each other. */
class Net extends Module {
  readonly first = new Conv2d(1, 8, 3, { padding: 1 });
  readonly norm = new LayerNorm2d(8);
  readonly second = new Conv2d(8, 1, 3, { padding: 1 });
  /** Has a part in the losses of some images only. */
  readonly extra = new Conv2d(1, 1, 1);

  loss(images: Float32Array, extra: boolean) {
    const x = tensor(images, [images.length / pixels, 1, SIDE, SIDE]);
    const y = this.second.forward(relu(this.norm.forward(this.first.forward(x))));
    return mean(square(sub(extra ? add(y, this.extra.forward(x)) : y, 0.3)));
  }
}

type Batch = readonly [images: Float32Array, extra: boolean];

/** Weights after three steps, each on all batches, whose gradients are averaged. */
async function trained(batches: (step: number) => readonly Batch[]) {
  const net = new Net();
  const flat = await FlatParameters.create(net, { seed: 3 });
  const optimizer = await AdamW.create(flat, { weightDecay: 0, clipNorm: 1 });
  const accumulator = await GradientAccumulator.create(flat, batches(0).length);
  for (let step = 0; step < 3; step++) {
    for (const [images, extra] of batches(step)) {
      const found = gradients(net.loss(images, extra), flat.trainable);
      await submit({ write: flat.gradientTargets(found) });
      accumulator.add(found.map((g) => g !== undefined));
    }
    optimizer.update(1e-2, accumulator.finish());
  }
  const found = { values: await flat.stateDict(), gradients: await flat.gradientDict() };
  for (const part of [accumulator, optimizer, flat]) part.destroy();
  return found;
}

const images = (step: number) => hashValues(`images ${step}`, 4 * pixels, 0.1, 1);
const part = (step: number, i: number, n: number) =>
  images(step).subarray(i * 4 * pixels / n, (i + 1) * 4 * pixels / n);
const split = (n: number) => (step: number): Batch[] =>
  Array.from({ length: n }, (_, i) => [part(step, i, n), true]);

Deno.test("GradientAccumulator makes a step of micro-batches equal to one of the whole batch", async () => {
  const whole = await trained(split(1));
  for (const n of [2, 4]) {
    const parts = await trained(split(n));
    for (const which of ["values", "gradients"] as const) {
      for (const [key, { data }] of whole[which]) {
        const other = parts[which].get(key)!.data;
        // AdamW divides gradients by their own size: a rounding error of a small one moves a value.
        const tolerance = which === "values" ? 1e-5 : 2e-6;
        data.forEach((v, i) => ok(Math.abs(v - other[i]) < tolerance, `${key}: ${v} ${other[i]}`));
      }
    }
  }
});

Deno.test("GradientAccumulator counts parameters without a gradient as 0", async () => {
  const both = (order: readonly boolean[]) => (step: number): Batch[] =>
    order.map((extra) => [part(step, extra ? 0 : 1, 2), extra]);
  const [first, last] = [await trained(both([true, false])), await trained(both([false, true]))];
  deepEqual(last.gradients.get("extra.weight"), first.gradients.get("extra.weight"));
  const [without] = [
    await trained((step) => [[part(step, 0, 2), false], [part(step, 1, 2), false]]),
  ];
  deepEqual(without.gradients.get("extra.weight")!.data, Float32Array.of(0));
});

Deno.test("GradientAccumulator has a fixed number of micro-batches, and frees its memory", async () => {
  const { counters } = await runtime();
  const flat = await FlatParameters.create(new Net());
  ok(flat.gradients.size > 0);
  const before = counters.liveBytes;
  const one = await GradientAccumulator.create(flat, 1);
  deepEqual(counters.liveBytes, before);
  const two = await GradientAccumulator.create(flat, 2);
  ok(counters.liveBytes >= before + 4 * flat.trainableLength);
  two.add();
  throws(() => two.finish(), /1 of 2 micro-batches/);
  throws(() => two.add([true]), /1 flags for 8 parameters/);
  two.add();
  throws(() => two.add(), /2 micro-batches, not more/);
  deepEqual(two.finish(), new Array(8).fill(true));
  await rejects(GradientAccumulator.create(flat, 0), /0 micro-batches/);
  for (const part of [one, two]) part.destroy();
  deepEqual(counters.liveBytes, before);
  flat.destroy();
});
