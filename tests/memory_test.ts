import assert from "node:assert/strict";
import {
  gradients,
  mean,
  mseLoss,
  mul,
  relu,
  runtime,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { Conv2d, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters } from "../engine/optim/mod.ts";
import { onSchedule } from "./engine_modes.ts";

class Net extends Module {
  readonly first = new Conv2d(1, 8, 3, { padding: 1 });
  readonly second = new Conv2d(8, 1, 3, { padding: 1 });

  forward(x: Tensor): Tensor {
    return this.second.forward(relu(this.first.forward(x)));
  }
}

const STEPS = 200;

Deno.test(`training keeps GPU memory flat when it runs ${STEPS} steps`, async () => {
  const rt = await runtime();
  const net = new Net();
  const flat = await FlatParameters.create(net);
  const optimizer = await AdamW.create(flat, { weightDecay: 0 });
  const losses: number[] = [];
  let steady: typeof rt.counters | undefined;
  for (let step = 0; step < STEPS; step++) {
    const pixels = Float32Array.from({ length: 2 * 17 * 17 }, (_, i) => Math.sin(i + step));
    const x = tensor(pixels, [2, 1, 17, 17]);
    const loss = mseLoss(net.forward(x), mean(x, [2, 3], true));
    const grads = gradients(loss, flat.trainable);
    const finish = await submit({ read: [loss], write: flat.gradientTargets(grads) });
    optimizer.update(1e-3);
    losses.push((await finish())[0][0]);
    if (step === 2) steady = { ...rt.counters };
  }
  const { counters } = rt;
  assert.equal(counters.liveBytes, steady!.liveBytes);
  assert.equal(counters.buffersCreated, steady!.buffersCreated);
  assert.equal(counters.bindGroupsCreated, steady!.bindGroupsCreated);
  assert.ok(counters.submits - steady!.submits <= 3 * (STEPS - 3));
  assert.ok(losses[STEPS - 1] < losses[0] / 2, `${losses[0]} to ${losses[STEPS - 1]}`);
  optimizer.destroy();
  flat.destroy();
});

Deno.test("submit() takes new values of leaves when a request comes again", async () => {
  const x = tensor(Float32Array.of(1, 2, 3), [3]);
  const request = { read: [mul(x, 2)] };
  const values = async () => (await (await submit(request))())[0];
  assert.deepStrictEqual(await values(), Float32Array.of(2, 4, 6));
  x.host = Float32Array.of(5, 6, 7);
  assert.deepStrictEqual(await values(), Float32Array.of(10, 12, 14));
  assert.deepStrictEqual(await onSchedule("gpu", values), Float32Array.of(10, 12, 14));
});

Deno.test("Runtime.takeStaging() holds one buffer when what is read grows, and reuses it", async () => {
  const rt = await runtime();
  const take = (bytes: number) => rt.releaseStaging(rt.takeStaging(bytes));
  const sizes = Array.from({ length: 40 }, (_, i) => (i + 1) * 2 ** 20);
  take(sizes[0]);
  const before = rt.counters.liveBytes;
  sizes.forEach(take);
  assert.equal(rt.counters.liveBytes - before, sizes[39] - sizes[0]);
  const mixed = [sizes[39], sizes[0], sizes[20], sizes[1]];
  mixed.forEach(take);
  const { buffersCreated } = rt.counters;
  mixed.forEach(take);
  assert.equal(rt.counters.buffersCreated, buffersCreated);
});
