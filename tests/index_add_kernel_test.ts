import { lowerIndexAdd } from "../shaders/index_add.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

const CASES = [
  { outer: 1, size: 1, inner: 1, index: [0] },
  { outer: 3, size: 17, inner: 3, index: [16, 2, 2, 0, 16, 2] },
  { outer: 2, size: 3, inner: 8, index: Array.from({ length: 33 }, (_, j) => (j * j) % 3) },
  { outer: 1, size: 4, inner: 5, index: [9, 1, 4, 1] }, // 9 and 4 name no row
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerIndexAdd() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const { outer, size, inner, index } of CASES) {
      const count = index.length;
      const g = values(outer * count * inner, 1);
      const extra = values(outer * size * inner, 2);
      const expected = Float64Array.from(extra);
      for (let i = 0; i < g.length; i++) {
        const row = index[Math.floor(i / inner) % count];
        const o = Math.floor(i / (inner * count));
        if (row < size) expected[(o * size + row) * inner + i % inner] += 2 * g[i];
      }
      const view = { outer, size, inner };
      const lowering = lowerIndexAdd(view, count, device.profile, SCALE_AND_ADD);
      const inputs = [g, Uint32Array.from(index)];
      const [out] = await runLowering(device, lowering, inputs, [extra.length], [extra]);
      close(out, expected, 1e-5, lowering.steps[1].kernel.label);
    }
  });
}
