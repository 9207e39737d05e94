import {
  autocast,
  gradients,
  mean,
  mul,
  read,
  relu,
  square,
  sub,
  submit,
  sum,
  tensor,
} from "../engine/mod.ts";
import { Linear, Module } from "../engine/nn/mod.ts";
import { AdamW, FlatParameters, GradScaler, type GradScalerOptions } from "../engine/optim/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { deepStrictEqual as deepEqual, notDeepStrictEqual, ok, rejects } from "node:assert/strict";

class Net extends Module {
  readonly first = new Linear(3, 33);
  readonly second = new Linear(33, 1);

  loss(step: number) {
    const x = tensor(hashValues(`x ${step}`, 17 * 3, 0, 1), [17, 3]);
    const y = this.second.forward(relu(this.first.forward(x)));
    return mean(square(sub(y, sum(x, 1, true))));
  }
}

const OPTIONS = { clipNorm: 0.5, weightDecay: 0.01 };

/** A net in training, with a scaler where options for one are given. */
async function trainee(options?: GradScalerOptions) {
  const net = new Net();
  const flat = await FlatParameters.create(net, { seed: 3 });
  const scaler = options && await GradScaler.create(options);
  const adam = await AdamW.create(flat, { ...OPTIONS, ...scaler && { scaler } });
  const step = async (at: number, factor = 1) => {
    const loss = mul(net.loss(at), tensor([factor], []));
    const found = gradients(scaler?.scaled(loss) ?? loss, flat.trainable);
    await submit({ write: flat.gradientTargets(found) });
    adam.update(1e-2);
  };
  const everything = async () => ({ values: await flat.stateDict(), ...await adam.state() });
  const destroy = () => [flat, adam, scaler].forEach((part) => part?.destroy());
  return { flat, adam, scaler, step, everything, destroy };
}

const moments = ({ values, first, second }: Awaited<
  ReturnType<Awaited<ReturnType<typeof trainee>>["everything"]>
>) => ({ values, first, second });

for (const schedule of SCHEDULES) {
  for (const factor of [Infinity, -Infinity, NaN]) {
    Deno.test(`AdamW leaves a step with gradients of ${factor} out, bit by bit, on ${schedule}`, () =>
      onSchedule(schedule, async () => {
        const [plain, scaled] = [await trainee(), await trainee({ initialScale: 1024 })];
        for (const step of [0, 1]) for (const each of [plain, scaled]) await each.step(step);
        const before = await scaled.everything();
        // Powers of two change no digit, and steps are counted alike.
        deepEqual(moments(before), moments(await plain.everything()));
        await scaled.step(2, factor);
        const after = await scaled.everything();
        deepEqual(moments(after), moments(before));
        deepEqual([after.step, before.step], [2, 2]);
        deepEqual(after.scaler, { scale: 512, steady: 0, taken: 2, skipped: 1 });
        for (const each of [plain, scaled]) await each.step(3);
        const end = await scaled.everything();
        deepEqual(moments(end), moments(await plain.everything()));
        notDeepStrictEqual(end.values, after.values);
        plain.destroy();
        scaled.destroy();
      }));
  }
}

Deno.test("GradScaler grows after updates in a row, and starts to count anew when one is skipped", async () => {
  const { scaler, step, destroy } = await trainee({
    initialScale: 8,
    growthFactor: 4,
    backoffFactor: 0.25,
    growthInterval: 2,
  });
  const scales: number[] = [];
  for (const factor of [1, 1, 1, NaN, 1, 1, NaN, NaN]) {
    await step(0, factor);
    scales.push((await scaler!.read()).scale);
  }
  deepEqual(scales, [8, 32, 32, 8, 8, 32, 8, 2]);
  deepEqual(await scaler!.read(), { scale: 2, steady: 0, taken: 5, skipped: 3 });
  deepEqual([...await read(scaler!.state)], [2, 0, 5, 3]);
  destroy();
});

Deno.test("GradScaler.create() refuses a scale that could never be right", async () => {
  const refused: [GradScalerOptions, RegExp][] = [
    [{ initialScale: 0 }, /the first scale is 0, not positive/],
    [{ initialScale: NaN }, /the first scale is NaN, not positive/],
    [{ growthFactor: 0.5 }, /with factors of 0.5 and 0.5 the scale does not grow/],
    [{ backoffFactor: 1 }, /with factors of 2 and 1 the scale does not grow/],
    [{ growthInterval: 0 }, /the growth interval is 0/],
  ];
  for (const [options, message] of refused) await rejects(GradScaler.create(options), message);
});

Deno.test("AdamW.load() continues bit by bit when a scaler is saved with it", async () => {
  const options = { initialScale: 2 ** 20, growthInterval: 2 };
  const straight = await trainee(options);
  for (const [at, factor] of [1, NaN, 1].entries()) await straight.step(at, factor);
  const saved = await straight.everything();
  const resumed = await trainee(options);
  resumed.flat.write(saved.values);
  resumed.adam.load(saved);
  for (const at of [3, 4]) for (const each of [straight, resumed]) await each.step(at);
  deepEqual(await resumed.everything(), await straight.everything());
  straight.destroy();
  resumed.destroy();
});

Deno.test("GradScaler finds a scale that f16 gradients stand when it starts too high", async () => {
  const net = new Net();
  const flat = await FlatParameters.create(net, { seed: 3 });
  const scaler = await GradScaler.create({ initialScale: 2 ** 24 });
  const adam = await AdamW.create(flat, { ...OPTIONS, scaler });
  for (let step = 0; step < 20; step++) {
    const loss = autocast("f16", () => net.loss(step));
    await submit({ write: flat.gradientTargets(gradients(scaler.scaled(loss), flat.trainable)) });
    adam.update(1e-2);
  }
  const { scale, taken, skipped } = await scaler.read();
  ok(skipped > 0 && taken > 10 && taken + skipped === 20, `${taken} taken, ${skipped} skipped`);
  deepEqual(scale, 2 ** (24 - skipped));
  for (const part of [adam, scaler, flat]) part.destroy();
});
