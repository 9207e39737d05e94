import { deepStrictEqual, ok, throws } from "node:assert/strict";
import { adamwHyper, correctionTable, lowerAdamW, lowerAdamWSteps } from "../shaders/adamw.ts";
import { type Lowering, storage } from "../shaders/kernel.ts";
import { lerpFactors, lowerLerp } from "../shaders/lerp.ts";
import { lowerSumSquares } from "../shaders/reduce_squares.ts";
import { close, values } from "./close.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

/** Before `lowering`, fills its in-place outputs from the inputs that start at `first`. */
function startingFrom(lowering: Lowering, first: number, lengths: readonly number[]): Lowering {
  const copies = lengths.map((length, i) => ({
    kernel: {
      label: "copy",
      source: `${storage(0, "a")} ${storage(1, "b")}
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
          if (id.x < ${length}u) { b[id.x] = a[id.x]; }
        }`,
      grid: [Math.ceil(length / 64), 1, 1] as const,
    },
    args: [`in${first + i}`, `out${i}`] as const,
  }));
  return { ...lowering, steps: [...copies, ...lowering.steps] };
}

const HYPER = { learningRate: 0.01, beta1: 0.9, beta2: 0.999, eps: 1e-8 };

for (const schedule of SCHEDULES) {
  Deno.test(`lowerAdamW() follows the reference for three steps when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const n = 64 * 5;
    const blocks = Uint32Array.of(0, 0, 1, 2, 1);
    const segments = Float32Array.of(1, 0.1, 1, 0.5, 0, 1, 1, 0.1, 0);
    /** Updates before the first step. */
    const before = [0, 7, 0];
    const clip = Float32Array.of(0.25, 8);
    const state = [values(n, 1), new Float32Array(n), new Float32Array(n)];
    const [p, m, v] = state.map((a) => Float64Array.from(a));
    let actual: Float32Array[] = state;
    for (let step = 1; step <= 3; step++) {
      const g = values(n, 10 + step);
      const hyper = adamwHyper(HYPER);
      const corrections = before.flatMap((
        taken,
      ) => [0, 1 - HYPER.beta1 ** (taken + step), 1 - HYPER.beta2 ** (taken + step)]);
      const table = Float32Array.of(...segments, ...corrections);
      const { learningRate, beta1, beta2, eps } = HYPER;
      for (let i = 0; i < n; i++) {
        const segment = blocks[Math.floor(i / 64)];
        const [scale, decay, has] = segments.subarray(3 * segment);
        const taken = before[segment] + step;
        if (has === 0) continue;
        const gradient = g[i] * clip[0];
        const rate = learningRate * scale;
        p[i] -= rate * decay * p[i];
        m[i] = beta1 * m[i] + (1 - beta1) * gradient;
        v[i] = beta2 * v[i] + (1 - beta2) * gradient ** 2;
        p[i] -= rate * m[i] / (1 - beta1 ** taken) / (Math.sqrt(v[i] / (1 - beta2 ** taken)) + eps);
      }
      const lowering = startingFrom(lowerAdamW(n, 3, device.profile), 5, [n, n, n]);
      const inputs = [g, blocks, table, hyper, clip, ...actual];
      actual = await runLowering(device, lowering, inputs, [n, n, n]);
      close(actual[0], p, 1e-6, `parameters after step ${step}`);
      close(actual[1], m, 1e-6, `first moments after step ${step}`);
      close(actual[2].map((x) => x * 1e3), v.map((x) => x * 1e3), 1e-6, `second moments`);
    }
    const skipped = actual[0].subarray(64 * 3, 64 * 4);
    deepStrictEqual(skipped, state[0].subarray(64 * 3, 64 * 4));
  });

  Deno.test(`lowerAdamWSteps() counts for each segment by itself when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const betas = [0.5, 0.9] as const;
    for (const count of [1, 3, 17, 65]) {
      const here = Array.from({ length: count }, (_, i) => i % 3 === 1 ? 0 : 1);
      const taken = Array.from({ length: count }, (_, i) => i * i);
      const host = here.flatMap((present) => [2, 3, present]);
      const start = Float32Array.of(...host, ...taken.flatMap((n) => [n, 0.25, 0.125]));
      const counted = taken.flatMap((n, i) =>
        here[i] ? [n + 1, ...betas.map((beta) => 1 - beta ** (n + 1))] : [n, 0.25, 0.125]
      );
      for (const skip of [undefined, 0, 1]) {
        const skips = skip !== undefined;
        const lowering = lowerAdamWSteps(count, betas, device.profile, skips);
        const clip = skips ? [Float32Array.of(1, 1, skip)] : [];
        const inputs = [correctionTable(betas), ...clip, start];
        const copied = startingFrom(lowering, inputs.length - 1, [start.length]);
        const [out] = await runLowering(device, copied, inputs, [start.length]);
        const expected = skip === 1 ? start : Float32Array.of(...host, ...counted);
        deepStrictEqual(out, expected, `${count} segments, skip ${skip}`);
      }
    }
  });

  Deno.test(`lowerSumSquares() gives norm and factor when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const lengths of [[1], [17], [64, 33], [70_000], [262_148, 64]]) {
      const windows = lengths.map((length, i) => values(length, i));
      const norm = Math.sqrt(windows.flatMap((w) => [...w]).reduce((sum, x) => sum + x * x, 0));
      for (const maximum of [0, norm / 2, norm * 2]) {
        const lowering = lowerSumSquares(lengths, device.profile);
        const inputs = [...windows, Float32Array.of(maximum)];
        const [out] = await runLowering(device, lowering, inputs, [2]);
        const factor = maximum === 0 ? 1 : Math.min(1, maximum / (norm + 1e-6));
        close(out, [factor, norm], 2e-6, `norm of ${lengths}, maximum ${maximum}`);
      }
    }
  });

  Deno.test(`lowerLerp() averages in place when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const length of [1, 33, 256]) {
      const [t, s] = [values(length, 1), values(length, 2)];
      const lowering = startingFrom(lowerLerp(length, device.profile), 2, [length]);
      const inputs = [s, lerpFactors(0.9), t];
      const [out] = await runLowering(device, lowering, inputs, [length]);
      close(out, t.map((x, i) => x * 0.9 + s[i] * 0.1), 1e-6, `lerp of ${length}`);
    }
  });
}

Deno.test("AdamW's tables keep 1 - beta2 exact to float32 when beta2 is near 1", () => {
  const hyper = adamwHyper(HYPER);
  const corrections = correctionTable([HYPER.beta1, HYPER.beta2]);
  ok(Math.abs(hyper[5] - 0.001) < 1e-10);
  ok(corrections.includes(hyper[5]));
  deepStrictEqual(corrections.at(-1), 1);
});

Deno.test("lowerAdamW() refuses a length when it is no multiple of 64", async () => {
  const { profile } = await deviceFor("cpu");
  throws(() => lowerAdamW(100, 1, profile), RangeError);
});
