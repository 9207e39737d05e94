import { deepEqual } from "node:assert/strict";
import { lowerSumSquares } from "../shaders/reduce_squares.ts";
import { close, values } from "./close.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

for (const schedule of SCHEDULES) {
  Deno.test(`lowerSumSquares() gives the norm and its clip factor on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const counts of [[1], [33, 17], [40_000, 12]]) {
      const windows = counts.map((count, i) => values(count, i + 1));
      const norm = Math.hypot(...windows.map((list) => Math.hypot(...list)));
      for (const largest of [norm / 3, 2 * norm, Infinity]) {
        const lowering = lowerSumSquares(counts, device.profile);
        const inputs = [...windows, Float32Array.of(largest)];
        const [result] = await runLowering(device, lowering, inputs, [2]);
        const factor = Math.min(1, largest / (norm + 1e-6));
        close(result, [factor, norm], 1e-5, `${counts}, at most ${largest}`);
        const [again] = await runLowering(device, lowering, inputs, [2]);
        deepEqual(again, result);
      }
    }
  });
}
