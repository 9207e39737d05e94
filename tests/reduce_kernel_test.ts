import { activeProfile } from "../engine/evaluate.ts";
import { amax, argmax, mul, permute, read, sum, type Tensor, tensor } from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { onSchedule } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { planFor } from "./plans.ts";
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const make = (shape: number[], seed = 1) => tensor(values(numel(shape), seed), shape);

/** For each result, the flat indices of the elements that it is made of. */
function terms(shape: readonly number[], dims: readonly number[]): number[][] {
  const found: number[][] = [];
  for (let flat = 0; flat < numel(shape); flat++) {
    let [rest, at, stride] = [flat, 0, 1];
    for (let d = shape.length - 1; d >= 0; d--) {
      if (!dims.includes(d)) {
        at += rest % shape[d] * stride;
        stride *= shape[d];
      }
      rest = Math.floor(rest / shape[d]);
    }
    (found[at] ??= []).push(flat);
  }
  return found;
}

/** Results of vectors and of scalars, sums in pieces and whole, dimensions that join and that do not. */
const CASES: readonly [shape: number[], dims: number[]][] = [
  [[5, 3], [0]],
  [[5, 3], [1]],
  [[4100, 33], [0]],
  [[4100, 12], [0]],
  [[3000, 6], [0]],
  [[3, 20000], [1]],
  [[9000], [0]],
  [[2, 3, 4, 5], [0, 2]],
  [[2, 3, 4, 8], [0, 2, 3]],
  [[6, 1, 7, 1], [1, 2]],
  [[1, 1], [0]],
];

for (const schedule of SCHEDULES) {
  const on = (name: string, run: () => Promise<void>) =>
    Deno.test(`${name} when run on ${schedule}`, () => onSchedule(schedule, run));

  on("sum() and amax() agree with loops", async () => {
    for (const [shape, dims] of CASES) {
      const x = make(shape);
      const data = x.host as Float32Array;
      const groups = terms(shape, dims);
      const sums = groups.map((group) => group.reduce((total, i) => total + data[i], 0));
      const largest = groups.map((group) =>
        group.reduce((a, i) => Math.max(a, data[i]), -Infinity)
      );
      close(await read(sum(x, dims)), sums, 1e-4, `sum of [${shape}] over ${dims}`);
      deepEqual([...await read(amax(x, dims))], largest);
    }
  });

  on("sum() of products with a row and a column agrees with loops", async () => {
    const [rows, columns] = [40, 24];
    const [x, row, column] = [make([rows, columns]), make([columns], 2), make([rows, 1], 3)];
    const product = mul(mul(x, row), column);
    const at = (i: number, j: number) => x.host![i * columns + j] * row.host![j] * column.host![i];
    const overRows = Array.from({ length: columns }, (_, j) => {
      let total = 0;
      for (let i = 0; i < rows; i++) total += at(i, j);
      return total;
    });
    close(await read(sum(product, [0])), overRows, 1e-5, "over rows");
  });

  on("sum() and amax() over many dimensions apart from each other agree with loops", async () => {
    // Beside the longest dimension there are more terms than a loop may have rounds.
    const shape = [37, 3, 37, 31, 2];
    const data = values(numel(shape), 4);
    const x = permute(tensor(data, shape), [2, 1, 0, 4, 3]);
    const kept = [0, 1, 2].map((i) => {
      const own = data.filter((_, at) => Math.floor(at / (37 * 31 * 2)) % 3 === i);
      return { sum: own.reduce((a, b) => a + b, 0), largest: own.reduce((a, b) => Math.max(a, b)) };
    });
    const sums = await read(sum(x, [0, 2, 3, 4]));
    close(sums, kept.map(({ sum }) => sum), 2e-3, "sum");
    deepEqual([...await read(amax(x, [0, 2, 3, 4]))], kept.map(({ largest }) => largest));
  });

  on("argmax() takes the first of equal values", async () => {
    const x = tensor(Float32Array.of(1, 3, 3, 2, 5, 0, 5, 4), [2, 4]);
    deepEqual([...await read(argmax(x, 1))], [1, 0]);
    deepEqual([...await read(argmax(x, 0))], [1, 0, 1, 1]);
  });
}

Deno.test("sum() of different shapes shares its kernel on a CPU adapter", () =>
  onSchedule("cpu", async () => {
    const profile = await activeProfile();
    const sourceOf = (x: Tensor) => {
      const { steps } = planFor([sum(x, [0])], profile);
      equal(steps.length, 1);
      return steps[0].kernel.source;
    };
    equal(sourceOf(make([132, 64])), sourceOf(make([3, 4, 16])));
  }));
