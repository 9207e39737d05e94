/** Requests that are made before others are done. */
import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import {
  add,
  dispose,
  evaluate,
  forgetPlans,
  matmul,
  MemoryError,
  mul,
  read,
  runtime,
  sum,
  tensor,
} from "../engine/mod.ts";
import { Turns } from "../engine/turns.ts";
import { withMemory } from "./engine_modes.ts";

const numbers = Array.from({ length: 6 }, (_, i) => i);
const filled = (value: number, ...shape: number[]) =>
  tensor(new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value), shape);

Deno.test("requests of one graph made at once get their own values, on a plan that is new or kept", async () => {
  await forgetPlans();
  for (let round = 0; round < 2; round++) {
    const found = await Promise.all(numbers.map((i) => read(mul(add(filled(i, 5), 1), 2))));
    deepEqual(found.map(([first]) => first), numbers.map((i) => 2 * (i + 1)));
  }
});

Deno.test("requests made at once get their values while the arena grows", async () => {
  await forgetPlans();
  const found = await Promise.all(numbers.map((i) => {
    const x = filled(1, 16 << i, 16 << i);
    return read(sum(matmul(add(x, i), mul(x, 2))));
  }));
  deepEqual(found.map(([first]) => first), numbers.map((i) => (16 << i) ** 3 * 2 * (i + 1)));
});

Deno.test("values are kept, read and freed in the order that was asked for", async () => {
  const kept = numbers.map((i) => add(filled(i, 7), 1));
  const { counters } = await runtime();
  const before = counters.liveBytes;
  const [, , found] = await Promise.all([
    Promise.all(kept.map((t) => evaluate([t]))),
    forgetPlans(),
    Promise.all(kept.map((t) => read(mul(t, 3)))),
    dispose(kept),
    forgetPlans(),
  ]);
  deepEqual(found.map(([first]) => first), numbers.map((i) => 3 * (i + 1)));
  deepEqual(kept.map(({ storage }) => storage), numbers.map(() => undefined));
  equal(counters.liveBytes <= before + 4096, true);
});

Deno.test("a request that fails does not hold up those after it", () =>
  withMemory({ bufferBytes: 4096 }, async () => {
    const large = read(add(filled(1, 5000), 1));
    const small = read(add(filled(1, 3), 1));
    await rejects(large, MemoryError);
    deepEqual(Array.from(await small), [2, 2, 2]);
  }));

Deno.test("Turns gives work its turn when what came before has ended or failed", async () => {
  const turns = new Turns();
  const order: string[] = [];
  const slow = turns.take(async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    order.push("slow");
    return 1;
  });
  const wrong = turns.take(() => {
    order.push("wrong");
    throw new RangeError("no");
  });
  const quick = turns.take(() => {
    order.push("quick");
    return 3;
  });
  await rejects(wrong, RangeError);
  deepEqual([await slow, await quick], [1, 3]);
  deepEqual(order, ["slow", "wrong", "quick"]);
});
