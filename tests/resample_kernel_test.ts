import { lowerResample, type ResampleView } from "../shaders/resample.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

function reference(
  { outer, size, inner, length, taps }: ResampleView,
  x: Float32Array,
  starts: Int32Array,
  weights: Float32Array,
): Float64Array {
  const out = new Float64Array(outer * length * inner);
  for (let at = 0; at < out.length; at++) {
    const [o, n, i] = [
      Math.floor(at / (length * inner)),
      Math.floor(at / inner) % length,
      at % inner,
    ];
    for (let t = 0; t < taps; t++) {
      out[at] += weights[n * taps + t] * x[(o * size + starts[n] + t) * inner + i];
    }
  }
  return out;
}

const VIEWS: ResampleView[] = [
  { outer: 1, size: 1, inner: 1, length: 3, taps: 1 },
  { outer: 6, size: 17, inner: 1, length: 33, taps: 4 },
  { outer: 3, size: 33, inner: 3, length: 17, taps: 2 },
  { outer: 2, size: 33, inner: 12, length: 5, taps: 13 },
  { outer: 5, size: 64, inner: 1, length: 7, taps: 19 },
  { outer: 4, size: 8, inner: 8, length: 16, taps: 4 },
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerResample() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [i, view] of VIEWS.entries()) {
      const { outer, size, inner, length, taps } = view;
      const x = values(outer * size * inner, 1);
      const starts = Int32Array.from(
        { length },
        (_, n) => Math.round(n * (size - taps) / Math.max(length - 1, 1)),
      );
      const weights = values(length * taps, 2);
      const expected = reference(view, x, starts, weights);
      const last = i === VIEWS.length - 1;
      const extra = values(expected.length, 3);
      const lowering = lowerResample(view, device.profile, last ? SCALE_AND_ADD : undefined);
      const inputs = [x, starts, weights];
      const [out] = await runLowering(
        ...[device, lowering, inputs, [expected.length], last ? [extra] : []] as const,
      );
      const wanted = last ? expected.map((value, j) => 2 * value + extra[j]) : expected;
      close(out, wanted, 1e-5, lowering.steps[0].kernel.label);
    }
  });
}
