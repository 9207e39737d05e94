import { equal, throws } from "node:assert/strict";
import type { AxisView } from "../engine/shape.ts";
import { lowerSoftmax, type SoftmaxKind } from "../shaders/softmax.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

function reference(kind: SoftmaxKind, view: AxisView, a: Float32Array, g: Float32Array) {
  const { outer, size, inner } = view;
  const out = new Float64Array(a.length);
  for (let line = 0; line < outer * inner; line++) {
    const at = (n: number) => (Math.floor(line / inner) * size + n) * inner + line % inner;
    const axis = Array.from({ length: size }, (_, n) => n);
    const top = Math.max(...axis.map((n) => a[at(n)]));
    const sum = (f: (i: number) => number) => axis.reduce((total, n) => total + f(at(n)), 0);
    const mass = sum((i) => Math.exp(a[i] - top));
    const dotted = sum((i) => a[i] * g[i]);
    const total = sum((i) => g[i]);
    for (const i of axis.map(at)) {
      if (kind === "softmax") out[i] = Math.exp(a[i] - top) / mass;
      else if (kind === "logSoftmax") out[i] = a[i] - top - Math.log(mass);
      else if (kind === "softmaxBackward") out[i] = a[i] * (g[i] - dotted);
      else out[i] = g[i] - Math.exp(a[i]) * total;
    }
  }
  return out;
}

const VIEWS: [SoftmaxKind, AxisView][] = [
  ["softmax", { outer: 5, size: 3, inner: 1 }],
  ["softmax", { outer: 3, size: 33, inner: 1 }],
  ["softmax", { outer: 7, size: 132, inner: 1 }],
  ["softmax", { outer: 2, size: 1091, inner: 1 }],
  ["softmax", { outer: 101, size: 52, inner: 1 }],
  ["softmax", { outer: 3, size: 17, inner: 12 }],
  ["logSoftmax", { outer: 17, size: 260, inner: 1 }],
  ["logSoftmax", { outer: 2, size: 4, inner: 33 }],
  ["softmaxBackward", { outer: 3, size: 100, inner: 1 }],
  ["softmaxBackward", { outer: 1, size: 1, inner: 1 }],
  ["softmaxBackward", { outer: 67, size: 33, inner: 1 }],
  ["logSoftmaxBackward", { outer: 9, size: 17, inner: 1 }],
  ["logSoftmaxBackward", { outer: 2, size: 33, inner: 4 }],
];

for (const schedule of SCHEDULES) {
  Deno.test(`lowerSoftmax() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [kind, view] of VIEWS) {
      const n = view.outer * view.size * view.inner;
      const [a, g] = [values(n, 1, 4), values(n, 2)];
      const lowering = lowerSoftmax(kind, view, device.profile);
      const inputs = kind.endsWith("Backward") ? [a, g] : [a];
      const [out] = await runLowering(device, lowering, inputs, [n]);
      close(out, reference(kind, view, a, g), 2e-5, lowering.steps[0].kernel.label);
    }
  });

  Deno.test(`lowerSoftmax() applies an epilogue when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [kind, view] of [VIEWS[1], VIEWS[2], VIEWS[4]]) {
      const n = view.outer * view.size * view.inner;
      const [a, extra] = [values(n, 3, 90), values(n, 4)];
      const lowering = lowerSoftmax(kind, view, device.profile, SCALE_AND_ADD);
      const [out] = await runLowering(device, lowering, [a], [n], [extra]);
      const expected = reference(kind, view, a, a).map((value, i) => 2 * value + extra[i]);
      close(out, expected, 2e-5, lowering.steps[0].kernel.label);
    }
  });
}

Deno.test("lowerSoftmax() refuses lines that a software adapter would leave half done", async () => {
  const { profile } = await deviceFor("cpu");
  const line = (size: number) => ({ outer: 1, size, inner: 1 });
  const longest = 4 * profile.lanes * 21843;
  lowerSoftmax("softmax", line(longest), profile);
  throws(() => lowerSoftmax("softmax", line(longest + 4), profile), /at most/);
});

Deno.test("lowerSoftmax() gives an invocation no more lines than its loops can go through", async () => {
  const { profile } = await deviceFor("cpu");
  const linesOf = (size: number) =>
    lowerSoftmax("softmax", { outer: 1000, size, inner: 1 }, profile).steps[0].kernel.sizes!
      .perTeam;
  equal(linesOf(20), 16);
  equal(linesOf(4 * profile.lanes * 21843), 1);
  // Each line takes three passes with a test each, and a round of the loop over lines.
  const size = 4 * profile.lanes * 3000;
  equal(linesOf(size), Math.floor(65534 / (3 * 3001 + 1)));
});
