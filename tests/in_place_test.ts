import {
  cat,
  matmul,
  mul,
  permute,
  readAll,
  reshape,
  slice,
  type Tensor,
  tensor,
  transpose,
} from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { onSchedule, unfused } from "./engine_modes.ts";
import { SCHEDULES } from "./kernel_harness.ts";
import { stepsOf } from "./plans.ts";
import { strictEqual as equal } from "node:assert/strict";

const numel = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const make = (shape: readonly number[], seed = 1) => tensor(values(numel(shape), seed), shape);

/** Work that is one dispatch, since what it reads is not copied before. */
const CASES: Record<string, () => Tensor> = {
  "a transposed left factor": () => matmul(transpose(make([2, 12, 9]), 1, 2), make([2, 12, 5], 2)),
  "a transposed right factor": () => matmul(make([7, 8]), transpose(make([36, 8], 2), 0, 1)),
  "factors that are swapped twice": () =>
    matmul(transpose(make([5, 6]), 0, 1), transpose(make([9, 5], 2), 0, 1), {
      transA: false,
      transB: false,
    }),
  "a part of each row": () => matmul(slice(make([6, 20]), 1, 3, 14), make([11, 8], 2)),
  "every second row of each matrix": () =>
    matmul(slice(make([3, 10, 8]), 1, 0, 10, 2), make([8, 12], 2)),
  "heads between tokens and channels": () => {
    const q = reshape(permute(make([1, 6, 4, 8]), [0, 2, 1, 3]), [4, 6, 8]);
    const k = reshape(permute(make([1, 5, 4, 8], 2), [0, 2, 1, 3]), [4, 5, 8]);
    return matmul(q, k, { transB: true });
  },
  "parts joined along rows": () =>
    cat([make([2, 3, 8]), make([2, 1, 8], 2), make([2, 4, 8], 3)], 1),
  "parts joined within vectors": () => cat([make([3, 5]), make([3, 1], 2), make([3, 2], 3)], 1),
  "a join of joins": () => {
    const inner = cat([make([2, 4]), mul(make([2, 4], 2), 3)], 1);
    return cat([inner, make([2, 4], 3)], 1);
  },
};

for (const schedule of SCHEDULES) {
  Deno.test(`matmul() and cat() read in place what strides describe on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const made = Object.entries(CASES).map(([what, f]) => [what, f()] as const);
      for (const [what, target] of made) equal(await stepsOf([target]), 1, what);
      const targets = made.map(([, target]) => target);
      const fused = await readAll(targets);
      const apart = await unfused(() => readAll(targets));
      fused.forEach((result, i) => close(result as Float32Array, apart[i], 1e-5, made[i][0]));
    }));
}

Deno.test("cat() of large parts takes a dispatch for each", async () => {
  equal(await stepsOf([cat([make([200, 60]), make([200, 60], 2)], 1)]), 2);
});
