import type { AxisView } from "../engine/shape.ts";
import { lowerCumsum } from "../shaders/cumsum.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

function reference({ outer, size, inner }: AxisView, reverse: boolean, x: Float32Array) {
  const out = new Float64Array(x.length);
  for (let line = 0; line < outer * inner; line++) {
    let running = 0;
    for (let step = 0; step < size; step++) {
      const n = reverse ? size - 1 - step : step;
      const i = (Math.floor(line / inner) * size + n) * inner + line % inner;
      out[i] = running += x[i];
    }
  }
  return out;
}

const VIEWS: (AxisView & { reverse: boolean })[] = [
  { outer: 1, size: 1, inner: 1, reverse: false },
  { outer: 3, size: 17, inner: 1, reverse: true },
  { outer: 2, size: 333, inner: 1, reverse: false },
  { outer: 1, size: 65, inner: 12, reverse: true },
  { outer: 9, size: 33, inner: 3, reverse: false },
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerCumsum() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const view of VIEWS) {
      const n = view.outer * view.size * view.inner;
      const [x, extra] = [values(n, 1), values(n, 2)];
      const lowering = lowerCumsum(view, device.profile, SCALE_AND_ADD);
      const [out] = await runLowering(device, lowering, [x], [n], [extra]);
      const expected = reference(view, view.reverse, x).map((value, i) => 2 * value + extra[i]);
      close(out, expected, 1e-5, lowering.steps[0].kernel.label);
    }
  });
}
