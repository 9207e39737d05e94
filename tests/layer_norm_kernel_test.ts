import { match } from "node:assert/strict";
import type { AxisView } from "../engine/shape.ts";
import { lowerLayerNorm, lowerLayerNormBackward } from "../shaders/layer_norm.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

const EPS = 1e-5;

function reference(
  view: AxisView,
  x: Float32Array,
  weight: Float32Array,
  bias: Float32Array,
  g: Float32Array,
) {
  const { outer, size, inner } = view;
  const [y, dx] = [new Float64Array(x.length), new Float64Array(x.length)];
  const [mean, rstd] = [new Float64Array(outer * inner), new Float64Array(outer * inner)];
  for (let line = 0; line < outer * inner; line++) {
    const at = (n: number) => (Math.floor(line / inner) * size + n) * inner + line % inner;
    const average = (f: (n: number, i: number) => number) => {
      let total = 0;
      for (let n = 0; n < size; n++) total += f(n, at(n));
      return total / size;
    };
    const m = mean[line] = average((_, i) => x[i]);
    const r = rstd[line] = 1 / Math.sqrt(average((_, i) => (x[i] - m) ** 2) + EPS);
    const first = average((n, i) => g[i] * weight[n]);
    const second = average((n, i) => g[i] * weight[n] * (x[i] - m) * r);
    for (let n = 0; n < size; n++) {
      const i = at(n);
      y[i] = (x[i] - m) * r * weight[n] + bias[n];
      dx[i] = r * (g[i] * weight[n] - first - (x[i] - m) * r * second);
    }
  }
  return { y, mean, rstd, dx };
}

const VIEWS: AxisView[] = [
  { outer: 3, size: 3, inner: 1 },
  { outer: 17, size: 33, inner: 1 },
  { outer: 5, size: 96, inner: 1 },
  { outer: 2, size: 1028, inner: 1 },
  { outer: 101, size: 20, inner: 1 },
  { outer: 2, size: 17, inner: 12 },
  { outer: 1, size: 7, inner: 33 },
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerLayerNorm() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const view of VIEWS) {
      const lines = view.outer * view.inner;
      const n = lines * view.size;
      // A mean far from zero: a one-pass variance would lose all its digits here.
      const x = values(n, 1).map((value) => value + 10);
      const [weight, bias] = [values(view.size, 2), values(view.size, 3)];
      const [g, extra] = [values(n, 4), values(n, 5)];
      const expected = reference(view, x, weight, bias, g);
      const forward = lowerLayerNorm(view, EPS, device.profile, SCALE_AND_ADD);
      const inputs = [x, weight, bias];
      const [y, mean, rstd] = await runLowering(device, forward, inputs, [n, lines, lines], [
        extra,
      ]);
      const label = forward.steps[0].kernel.label;
      close(y, expected.y.map((value, i) => 2 * value + extra[i]), 1e-4, `${label} y`);
      close(mean, expected.mean, 1e-6, `${label} mean`);
      close(rstd, expected.rstd, 1e-4, `${label} rstd`);
      const backward = lowerLayerNormBackward(view, device.profile);
      const saved = [x, weight, mean, rstd, g];
      const [dx] = await runLowering(device, backward, saved, [n]);
      close(dx, expected.dx, 1e-4, backward.steps[0].kernel.label);
    }
  });
}

Deno.test("lowerLayerNorm() agrees with the reference when it keeps a part of long lines", async () => {
  const device = await deviceFor("cpu");
  const { profile } = device;
  const view = { outer: 2521, size: 420, inner: 1 };
  const n = view.outer * view.size;
  const x = values(n, 1).map((value) => value + 10);
  const [weight, bias, g] = [values(view.size, 2), values(view.size, 3), values(n, 4)];
  const forward = lowerLayerNorm(view, EPS, profile);
  match(forward.steps[0].kernel.source, /x_11 = [^]*for \(var n = lane \+ 96u/);
  const outputs = [n, view.outer, view.outer];
  const [y, mean, rstd] = await runLowering(device, forward, [x, weight, bias], outputs);
  const backward = lowerLayerNormBackward(view, profile);
  const [dx] = await runLowering(device, backward, [x, weight, mean, rstd, g], [n]);
  // The last lines, which a team of fewer lines than the others has.
  const some = { ...view, outer: 21 };
  const last = (all: Float32Array) => all.subarray(-some.outer * view.size);
  const expected = reference(some, last(x), weight, bias, last(g));
  close(last(y), expected.y, 1e-4, "y");
  close(last(dx), expected.dx, 1e-4, "dx");
});
