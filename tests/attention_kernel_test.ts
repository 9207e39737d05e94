import { match } from "node:assert/strict";
import type { Device } from "../engine/device.ts";
import {
  type AttentionShape,
  lowerAttention,
  lowerAttentionBackward,
} from "../shaders/attention.ts";
import { type AttentionInputs, attentionReference } from "./attention_reference.ts";
import { close, values } from "./close.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

function shapeOf(
  [batch, heads, queries, keys, dim]: readonly number[],
  options: Partial<AttentionShape> = {},
): AttentionShape {
  return { batch, heads, queries, keys, dim, scale: 1 / Math.sqrt(dim), causal: false, ...options };
}

function inputsOf(shape: AttentionShape): AttentionInputs {
  const { batch, heads, queries: N, keys: M, dim: D } = shape;
  const [ofQuery, ofKey] = [batch * heads * N * D, batch * heads * M * D];
  let mask: Float32Array | undefined;
  if (shape.mask) {
    mask = values(shape.mask[0] * shape.mask[1] * N * M, 5, 2);
    for (let i = 0; i < mask.length; i += 3) mask[i] = -Infinity;
    mask.fill(-Infinity, 0, M); // the first row sees no key at all
  }
  return {
    q: values(ofQuery, 1, 2),
    k: values(ofKey, 2, 2),
    v: values(ofKey, 3),
    g: values(ofQuery, 4),
    mask,
  };
}

async function check(device: Device, shape: AttentionShape, small: boolean): Promise<void> {
  const inputs = inputsOf(shape);
  const { q, k, v, g } = inputs;
  const mask = inputs.mask ? [inputs.mask] : [];
  const rows = shape.batch * shape.heads * shape.queries;
  const expected = attentionReference(shape, inputs);
  const forward = lowerAttention(shape, device.profile, small);
  const label = forward.steps[0].kernel.label;
  const [out, lse] = await runLowering(device, forward, [q, k, v, ...mask], [q.length, rows]);
  close(out, expected.out, 2e-5, `${label} out`);
  close(lse, expected.lse, 2e-5, `${label} lse`);
  const masked = shape.mask !== undefined;
  const backward = lowerAttentionBackward(shape, masked, device.profile, small);
  const sizes = [q.length, k.length, v.length, ...masked ? [rows * shape.keys] : []];
  const saved = [q, k, v, out, lse, g, ...mask];
  const [dq, dk, dv, ds] = await runLowering(device, backward, saved, sizes);
  close(dq, expected.dq, 5e-5, `${label} dq`);
  close(dk, expected.dk, 5e-5, `${label} dk`);
  close(dv, expected.dv, 5e-5, `${label} dv`);
  if (masked) close(ds, expected.ds, 5e-5, `${label} ds`);
}

const CASES: Record<string, AttentionShape[]> = {
  "the head dimension is small or odd": [
    shapeOf([1, 2, 17, 33, 3]),
    shapeOf([2, 1, 33, 17, 17]),
    shapeOf([1, 1, 1, 1, 1]),
  ],
  "windows are small": [shapeOf([3, 2, 9, 64, 32]), shapeOf([2, 1, 49, 49, 56])],
  "heads are wide": [shapeOf([1, 1, 40, 33, 256]), shapeOf([1, 2, 33, 70, 72])],
  "queries see no later keys": [
    shapeOf([1, 2, 70, 70, 16], { causal: true }),
    shapeOf([1, 1, 5, 37, 4], { causal: true }),
  ],
  "a mask hides keys and whole rows": [
    shapeOf([2, 3, 17, 36, 8], { mask: [1, 3] }),
    shapeOf([2, 2, 6, 7, 5], { mask: [2, 1], causal: true }),
    shapeOf([1, 2, 40, 130, 16], { mask: [1, 1], causal: true }),
  ],
};

for (const schedule of SCHEDULES) {
  for (const [condition, shapes] of Object.entries(CASES)) {
    Deno.test(`attention agrees with the reference on ${schedule} when ${condition}`, async () => {
      const device = await deviceFor(schedule);
      for (const shape of shapes) {
        await check(device, shape, true);
        await check(device, shape, false);
      }
    });
  }
}

Deno.test("attention agrees with the reference when there is work enough for wide blocks", async () => {
  const device = await deviceFor("cpu");
  const shape = shapeOf([240, 1, 61, 97, 36], { causal: true });
  const { q, k, v, g } = inputsOf(shape);
  const rows = shape.batch * shape.queries;
  const forward = lowerAttention(shape, device.profile);
  match(forward.steps[0].kernel.source, /other \+= 32u/);
  const [out, lse] = await runLowering(device, forward, [q, k, v], [q.length, rows]);
  const backward = lowerAttentionBackward(shape, false, device.profile);
  const saved = [q, k, v, out, lse, g];
  const sizes = [q.length, k.length, v.length];
  const [dq, dk, dv] = await runLowering(device, backward, saved, sizes);
  // All heads are alike: the last one tells whether they are right.
  const last = (all: Float32Array) => all.subarray(all.length - all.length / shape.batch);
  const inputs = { q: last(q), k: last(k), v: last(v), g: last(g) };
  const expected = attentionReference({ ...shape, batch: 1 }, inputs);
  close(last(out), expected.out, 2e-5, "out");
  close(last(lse), expected.lse, 2e-5, "lse");
  close(last(dq), expected.dq, 5e-5, "dq");
  close(last(dk), expected.dk, 5e-5, "dk");
  close(last(dv), expected.dv, 5e-5, "dv");
});
