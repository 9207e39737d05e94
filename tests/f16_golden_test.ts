import { autocast, gradients, readAll } from "../engine/mod.ts";
import { loadFixture } from "../train/parity/fixture.ts";
import type { HostTensor } from "../train/parity/inputs.ts";
import { opCases, runCase } from "../train/parity/kinds/ops.ts";
import { withModel } from "../train/parity/model.ts";
import { videoLoss } from "../train/parity/video_loss.ts";
import { sharedPath, sharedTest } from "./shared.ts";
import { ok, strictEqual as equal } from "node:assert/strict";

/** Squares of the golden values, and of how far the computed ones are from them. */
function squares(golden: HostTensor, ours: HostTensor, stride = 1): [size: number, error: number] {
  let [size, error] = [0, 0];
  for (let i = 0; i < golden.data.length; i++) {
    size += golden.data[i] ** 2;
    error += (ours.data[i * stride] - golden.data[i]) ** 2;
  }
  return [size, error];
}

/** Relative 2-norm that f16 inputs, and results stored as f16, may be off by: four roundings. */
const TOLERANCE = 4 * 2 ** -11;

/** Where inputs that are rounded move the result by more. */
const WIDER: Readonly<Record<string, number>> = {
  // Logits of up to 60 are off by 2^-6, and probabilities by as large a share.
  softmax: 2 ** -6,
  log_softmax: 2 ** -6,
};

/** Rounding makes ties, among which the gradient is shared. */
const TIES = new Set(["amax", "amin", "max_pool2d"]);

sharedTest("operators on f16 agree with PyTorch's f32 but for rounding", async (t) => {
  const fixture = await loadFixture(sharedPath("golden"), "ops.manifest.json");
  const cases = opCases(fixture);
  equal(cases.length, 194);
  for (const op of cases) {
    await t.step(op.name, async () => {
      const produced = await runCase(fixture, op, "f16");
      const gradients = TIES.has(op.op) ? [] : op.grads.map((name) => `grad_${name}`);
      for (const part of ["out", ...gradients]) {
        const name = `${op.name}/${part}`;
        const { stride } = fixture.manifest.outputs![name];
        const golden = fixture.stored.get(name)!;
        const [size, error] = squares(golden, produced.get(name)!, stride);
        // What is truly zero is off by what cancels.
        const limit = (WIDER[op.op] ?? TOLERANCE) * Math.max(Math.sqrt(size), 1e-3);
        ok(Math.sqrt(error) <= limit, `${name} off by ${Math.sqrt(error / size)}`);
      }
    });
  }
});

/** Relative errors of a loss and of all its gradients together. */
const BOUNDS = { loss: 2e-3, gradients: 2e-2 };

sharedTest(
  "a tiny SAM-2 under autocast has the loss and the gradients of PyTorch's f32 but for rounding",
  async () => {
    const fixture = await loadFixture(sharedPath("golden"), "grads_tiny_video.manifest.json");
    await withModel(fixture, async ({ model }) => {
      const named = model.namedParameters().filter(([, p]) => p.trainable);
      const { loss } = autocast("f16", () => videoLoss(fixture, model));
      equal(loss.dtype, "f32");
      const found = gradients(loss, named.map(([, p]) => p));
      const reached = named.flatMap(([key], i) => found[i] ? [{ key, gradient: found[i] }] : []);
      ok(reached.every(({ gradient }) => gradient.dtype === "f32"));
      const [value, ...values] = await readAll([loss, ...reached.map((r) => r.gradient)]);
      const golden = fixture.stored.get("loss")!.data[0];
      ok(Math.abs(value[0] / golden - 1) < BOUNDS.loss, `${value[0]}, not ${golden}`);
      let [size, error] = [0, 0];
      reached.forEach(({ key, gradient: { shape } }, i) => {
        const { stride } = fixture.manifest.outputs![`grad:${key}`];
        const stored = fixture.stored.get(`grad:${key}`)!;
        const sums = squares(stored, { shape, data: values[i] }, stride);
        size += sums[0];
        error += sums[1];
      });
      ok(reached.length > 100 && size > 0);
      const off = Math.sqrt(error / size);
      ok(off < BOUNDS.gradients, `gradients off by ${off}`);
      // f16 was used at all.
      ok(off > 1e-5, `gradients off by ${off} only`);
    });
  },
);
