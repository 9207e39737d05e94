import {
  deepStrictEqual as deepEqual,
  notDeepEqual,
  ok,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import {
  dropout,
  foldKey,
  ones,
  randomBernoulli,
  randomBits,
  randomKey,
  randomKeyData,
  randomNormal,
  randomUniform,
  read,
  readAll,
  tensor,
} from "../engine/mod.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";

const COUNT = 40000;

function moments(values: ArrayLike<number>): { mean: number; variance: number } {
  let [sum, squares] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    sum += values[i];
    squares += values[i] ** 2;
  }
  const mean = sum / values.length;
  return { mean, variance: squares / values.length - mean ** 2 };
}

Deno.test("randomUniform() fills [0, 1) evenly and without correlation of neighbours", async () => {
  const values = await read(randomUniform(randomKey(1), [COUNT]));
  const bins = new Array<number>(16).fill(0);
  let product = 0;
  for (let i = 0; i < COUNT; i++) {
    bins[Math.floor(values[i] * 16)]++;
    if (i > 0) product += (values[i] - 0.5) * (values[i - 1] - 0.5);
  }
  const expected = COUNT / 16;
  const chi = bins.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
  ok(chi < 40, `chi-squared ${chi} of 15 degrees of freedom`);
  ok(Math.abs(product / COUNT) < 5 / 12 / Math.sqrt(COUNT));
});

Deno.test("randomBits() flips each bit half of the time between neighbours and keys", async () => {
  const [a, b] = await readAll([
    randomBits(tensor(Uint32Array.of(1, 2)), [COUNT]),
    randomBits(tensor(Uint32Array.of(2, 2)), [COUNT]),
  ]);
  for (let bit = 0; bit < 32; bit++) {
    let [neighbours, keys] = [0, 0];
    for (let i = 1; i < COUNT; i++) {
      neighbours += (a[i] ^ a[i - 1]) >>> bit & 1;
      keys += (a[i] ^ b[i]) >>> bit & 1;
    }
    ok(Math.abs(neighbours / COUNT - 0.5) < 0.015, `bit ${bit} of neighbours`);
    ok(Math.abs(keys / COUNT - 0.5) < 0.015, `bit ${bit} of keys`);
  }
});

Deno.test("randomNormal() has mean 0, variance 1 and the tails of a normal", async () => {
  const values = await read(randomNormal(randomKey(7), [COUNT]));
  const { mean, variance } = moments(values);
  ok(Math.abs(mean) < 0.025 && Math.abs(variance - 1) < 0.04, `${mean} ${variance}`);
  const beyond = values.filter((v) => Math.abs(v) > 2).length / COUNT;
  ok(Math.abs(beyond - 0.0455) < 0.006, `${beyond} beyond 2`);
  ok(values.every(Number.isFinite));
});

Deno.test("random numbers are equal for equal keys on every schedule, and differ by key", async () => {
  const reference = await read(randomUniform(randomKey(3, 1), [257]));
  for (const schedule of SCHEDULES) {
    const found = await onSchedule(schedule, () => read(randomUniform(randomKey(3, 1), [257])));
    deepEqual(found, reference, schedule);
  }
  notDeepEqual(await read(randomUniform(randomKey(3, 2), [257])), reference);
  notDeepEqual(await read(randomUniform(randomKey(4, 1), [257])), reference);
  notDeepEqual(await read(randomUniform(foldKey(randomKey(3, 1), 0), [257])), reference);
});

Deno.test("randomKeyData() depends on the seed and on every counter of the path", () => {
  const keys = [[0], [1], [0, 0], [0, 1], [0, 1, 0], [0, 0, 1]].map(([seed, ...path]) =>
    String(randomKeyData(seed, ...path))
  );
  equal(new Set(keys).size, keys.length);
});

Deno.test("randomBernoulli() gives ones with the probability", async () => {
  const values = await read(randomBernoulli(randomKey(5), [COUNT], 0.3));
  ok(values.every((v) => v === 0 || v === 1));
  ok(Math.abs(moments(values).mean - 0.3) < 0.012);
});

Deno.test("dropout() keeps the mean, zeroes the rate and refuses a rate of 1", async () => {
  const values = await read(dropout(ones([COUNT]), 0.25, randomKey(9)));
  const kept = values.filter((v) => v !== 0);
  ok(Math.abs(kept.length / COUNT - 0.75) < 0.012);
  ok(kept.every((v) => v === kept[0]) && Math.abs(kept[0] - 4 / 3) < 1e-6);
  throws(() => dropout(ones([1]), 1, randomKey(0)), /not in \[0, 1\)/);
});
