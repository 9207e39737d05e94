import {
  deepStrictEqual as deepEqual,
  notDeepEqual,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { Random, threefry2x32 } from "../train/data/random.ts";

Deno.test("threefry2x32() gives the known answers of Random123", () => {
  const hex = (words: [number, number]) => words.map((w) => w.toString(16).padStart(8, "0"));
  deepEqual(hex(threefry2x32([0, 0], [0, 0])), ["6b200159", "99ba4efe"]);
  const ones = 0xffffffff;
  deepEqual(hex(threefry2x32([ones, ones], [ones, ones])), ["1cb996fc", "bb002be7"]);
  deepEqual(
    hex(threefry2x32([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3])),
    ["c4923a9c", "483df7a0"],
  );
});

Deno.test("Random goes on where it was when made from a state", () => {
  const random = new Random(7);
  for (const draws of [0, 1, 2, 5]) {
    for (let i = 0; i < draws; i++) random.next();
    const copy = Random.from(JSON.parse(JSON.stringify(random.state)));
    deepEqual(
      Array.from({ length: 5 }, () => copy.next()),
      Array.from({ length: 5 }, () => random.next()),
    );
  }
});

Deno.test("fork() depends on its path and not on what was drawn", () => {
  const random = new Random(1);
  const before = random.fork("train", 3).next();
  random.next();
  equal(random.fork("train", 3).next(), before);
  const others = [random.fork("train", 4), random.fork("test", 3), random.fork("train"), random];
  ok(others.every((other) => other.next() !== before));
  notDeepEqual(random.fork(2 ** 32 - 1).next(), random.fork("\uffff").next());
});

Deno.test("uniform() and normal() have the right moments", () => {
  const random = new Random(5);
  const n = 20000;
  const moments = (values: number[]) => {
    const mean = values.reduce((a, b) => a + b) / n;
    return [mean, Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / n)] as const;
  };
  const [uniformMean, uniformDeviation] = moments(
    Array.from({ length: n }, () => random.uniform(2, 4)),
  );
  // Tolerances are five standard errors of 20,000 draws.
  ok(Math.abs(uniformMean - 3) < 0.021 && Math.abs(uniformDeviation - 2 / Math.sqrt(12)) < 0.015);
  const [mean, deviation] = moments(Array.from({ length: n }, () => random.normal(-1, 2)));
  ok(Math.abs(mean + 1) < 0.071 && Math.abs(deviation - 2) < 0.05);
});

Deno.test("shuffled() keeps all items when it changes their order", () => {
  const items = Array.from({ length: 50 }, (_, i) => i);
  const shuffled = new Random(3).shuffled(items);
  notDeepEqual(shuffled, items);
  deepEqual(shuffled.toSorted((a, b) => a - b), items);
});
