import { throws } from "node:assert/strict";
import { lowerAdamW } from "../shaders/adamw.ts";
import { close, values } from "./close.ts";
import { thenCopy } from "./in_place.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

const COUNT = 64 * 9;
/** Segment of each block of 64 values, and (rate scale, decay, has gradient, -) of each segment. */
const BLOCKS = Uint32Array.of(0, 0, 1, 1, 1, 2, 3, 3, 3);
const SEGMENTS = Float32Array.of(1, 0.1, 1, 0, 0.5, 0, 1, 0, 1, 0.1, 0, 0, 2, 0.01, 1, 0);
const [LR, BETA1, BETA2, EPS, CLIP] = [0.01, 0.9, 0.999, 1e-8, 0.25];

function reference(step: number, g: Float32Array, p: number[], m: number[], v: number[]) {
  for (let i = 0; i < COUNT; i++) {
    const [scale, decay, live] = SEGMENTS.subarray(4 * BLOCKS[i >> 6]);
    if (!live) continue;
    const [lr, gradient] = [LR * scale, g[i] * CLIP];
    p[i] -= lr * decay * p[i];
    m[i] = BETA1 * m[i] + (1 - BETA1) * gradient;
    v[i] = BETA2 * v[i] + (1 - BETA2) * gradient ** 2;
    const [mHat, vHat] = [m[i] / (1 - BETA1 ** step), v[i] / (1 - BETA2 ** step)];
    p[i] -= lr * mHat / (Math.sqrt(vHat) + EPS);
  }
}

for (const schedule of SCHEDULES) {
  Deno.test(`lowerAdamW() follows the reference for three steps on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const lowering = thenCopy(lowerAdamW(COUNT, device.profile), [0, 2, 3], COUNT);
    let state = [values(COUNT, 1), new Float32Array(COUNT), new Float32Array(COUNT)];
    const expected = state.map((list) => Array.from(list));
    for (let step = 1; step <= 3; step++) {
      const g = values(COUNT, 10 + step, 3);
      const hyper = [LR, BETA1, BETA2, EPS, 1 - BETA1 ** step, 1 - BETA2 ** step];
      const tables = [BLOCKS, SEGMENTS, Float32Array.from(hyper), Float32Array.of(CLIP, 0)];
      const inputs = [state[0], g, state[1], state[2], ...tables];
      state = await runLowering(device, lowering, inputs, [COUNT, COUNT, COUNT]);
      reference(step, g, expected[0], expected[1], expected[2]);
      for (const [i, name] of ["p", "m", "v"].entries()) {
        close(state[i], expected[i], 1e-6, `${name} after step ${step}`);
      }
    }
  });
}

Deno.test("lowerAdamW() refuses a window when it ends within a block", async () => {
  const { profile } = await deviceFor("cpu");
  throws(() => lowerAdamW(100, profile), /100 values are not whole blocks of 64/);
});
