import { partsOf } from "../bench/parts.ts";
import {
  crossEntropy,
  evaluate,
  flatten,
  forgetPlans,
  gradients,
  maxPool2d,
  readAll,
  relu,
  runtime,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { Conv2d, Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters } from "../engine/optim/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { deepStrictEqual as deepEqual, notDeepEqual, ok } from "node:assert/strict";
import { unfused } from "./engine_modes.ts";

const STEPS = 30;
const BATCH = 6;
const SIDE = 17;
const CLASSES = 3;

/** Two convolutions, pooling and a linear layer. */
class SmallNet extends Module {
  readonly first = new Conv2d(1, 8, 3, { padding: 1 });
  readonly second = new Conv2d(8, 12, 3, { stride: 2, padding: 1 });
  readonly head = new Linear(12 * 4 * 4, CLASSES);

  forward(x: Tensor): Tensor {
    const pooled = maxPool2d(relu(this.second.forward(relu(this.first.forward(x)))), { kernel: 2 });
    return this.head.forward(flatten(pooled, 1));
  }
}

/** Bars in one of three places, under noise that changes from step to step. */
function batch(step: number): { images: Tensor; labels: Tensor } {
  const images = hashValues(`determinism/${step}`, BATCH * SIDE * SIDE, 0, 0.5);
  const labels = Uint32Array.from({ length: BATCH }, (_, i) => (i + step) % CLASSES);
  labels.forEach((label, i) => {
    for (let x = 0; x < SIDE; x++) images[(i * SIDE + 5 * label + 2) * SIDE + x] += 1;
  });
  return { images: tensor(images, [BATCH, 1, SIDE, SIDE]), labels: tensor(labels) };
}

/** A training of the net: the loss of each step, and the weights at the end. */
async function training(seed: number, eachStep = () => Promise.resolve()) {
  const net = new SmallNet();
  const weights = await FlatParameters.create(net, { seed });
  const optimizer = await AdamW.create(weights, { clipNorm: 1 });
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    const { images, labels } = batch(step);
    const loss = crossEntropy(net.forward(images), labels);
    const write = weights.gradientTargets(gradients(loss, weights.trainable));
    const finish = await submit({ read: [loss], write });
    optimizer.update(3e-3);
    losses.push((await finish())[0][0]);
    await eachStep();
  }
  const state = await weights.stateDict();
  optimizer.destroy();
  weights.destroy();
  return { losses, state };
}

Deno.test("training gives the same bits when it is run again, or with a new plan for each step", async () => {
  const first = await training(1);
  ok(first.losses[STEPS - 1] < 0.5 * first.losses[0], "the net has learned");
  deepEqual(await training(1), first);
  deepEqual(await training(1, forgetPlans), first);
  notDeepEqual((await training(2)).losses, first.losses);
});

Deno.test("training gives nearly the same losses when nothing is fused", async () => {
  const fused = await training(3);
  const apart = await unfused(() => training(3));
  fused.losses.forEach((loss, step) => {
    const off = Math.abs(loss - apart.losses[step]) / Math.abs(apart.losses[step]);
    ok(off <= 1e-3, `step ${step}: ${loss} and ${apart.losses[step]}`);
  });
});

const norm = (x: readonly number[]) => Math.sqrt(x.reduce((sum, v) => sum + v * v, 0));

for (
  const [part, index] of [["encoder", 0], ["mask decoder", 1], ["memory attention", 2]] as const
) {
  Deno.test(`gradients of the ${part} are nearly the same when nothing is fused`, async () => {
    const [{ model, backward }] = partsOf("tiny", 64, 1, [part]);
    const weights = await FlatParameters.create(model, { seed: index });
    const { counters } = await runtime();
    const before = counters.dispatches;
    const fused = await readAll(backward);
    const between = counters.dispatches;
    const apart = await unfused(() => readAll(backward));
    ok(counters.dispatches - between > 1.5 * (between - before), "fewer kernels where they fuse");
    const all = (list: readonly ArrayLike<number>[]) => list.flatMap((x) => Array.from(x));
    const [a, b] = [all(fused), all(apart)];
    const off = norm(a.map((v, i) => v - b[i])) / norm(b);
    ok(off <= 1e-5, `${part}: ${off}`);
    weights.destroy();
  });
}

Deno.test("forgetPlans() frees what only plans use; kept values stay", async () => {
  const { counters } = await runtime();
  const kept = relu(tensor(hashValues("kept", 4096, 0, 1)));
  await evaluate([kept]);
  await readAll([kept]);
  const most = counters.liveBytes;
  await forgetPlans();
  const [values] = await readAll([kept]);
  ok(counters.liveBytes <= most - 4 * 4096, "the upload's buffer is gone");
  deepEqual(values, hashValues("kept", 4096, 0, 1).map((v) => Math.max(v, 0)));
});
