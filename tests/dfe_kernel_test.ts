import {
  type DfeShape,
  lowerDfeCombine,
  lowerDfeCombineBackward,
  lowerDfeSimilarity,
} from "../shaders/dfe.ts";
import { close, values } from "./close.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

/** Cosine of the spatial means of sample b. */
function cosine(
  { channels, positions }: DfeShape,
  p: ArrayLike<number>,
  q: ArrayLike<number>,
  b: number,
) {
  let [pq, pp, qq] = [0, 0, 0];
  for (let c = 0; c < channels; c++) {
    let [sumP, sumQ] = [0, 0];
    for (let i = 0; i < positions; i++) {
      sumP += p[(b * channels + c) * positions + i];
      sumQ += q[(b * channels + c) * positions + i];
    }
    pq += sumP * sumQ / positions ** 2;
    pp += (sumP / positions) ** 2;
    qq += (sumQ / positions) ** 2;
  }
  return pq / Math.max(Math.sqrt(pp * qq), 1e-8);
}

const SHAPES: DfeShape[] = [
  { batch: 1, channels: 1, positions: 1 },
  { batch: 3, channels: 17, positions: 35 },
  { batch: 2, channels: 33, positions: 64 },
];

function inputsOf({ batch, channels, positions }: DfeShape) {
  const n = batch * channels * positions;
  const shifted = (seed: number) => values(n, seed).map((value) => value + 0.2);
  return { n, p: shifted(1), q: shifted(2), mp: values(n, 3), mq: values(n, 4), g: values(n, 5) };
}

for (const schedule of SCHEDULES) {
  Deno.test(`lowerDfeSimilarity() agrees with the reference when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const shape of SHAPES) {
      const { p, q } = inputsOf(shape);
      const { batch, channels, positions } = shape;
      const lowering = lowerDfeSimilarity(shape, device.profile);
      const sizes = [batch, 2 * batch * channels];
      const [similarity, slopes] = await runLowering(device, lowering, [p, q], sizes);
      const samples = Array.from({ length: batch }, (_, b) => b);
      close(similarity, samples.map((b) => cosine(shape, p, q, b)), 1e-5, "similarity");
      // Central differences of the reference at the first position of each channel.
      const step = 1e-4;
      const moved = (list: Float32Array, at: number, by: number) => {
        const copy = Float64Array.from(list);
        copy[at] += by;
        return copy;
      };
      for (const b of samples) {
        for (let c = 0; c < channels; c++) {
          const at = (b * channels + c) * positions;
          const [pUp, pDown] = [moved(p, at, step), moved(p, at, -step)];
          const [qUp, qDown] = [moved(q, at, step), moved(q, at, -step)];
          const ofP = (cosine(shape, pUp, q, b) - cosine(shape, pDown, q, b)) / (2 * step);
          const ofQ = (cosine(shape, p, qUp, b) - cosine(shape, p, qDown, b)) / (2 * step);
          const own = [slopes[2 * b * channels + c], slopes[(2 * b + 1) * channels + c]];
          close(own, [ofP, ofQ], 1e-5, `slopes of sample ${b}, channel ${c}`);
        }
      }
    }
  });

  Deno.test(`lowerDfeCombine() and its gradient agree with the reference on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const shape of SHAPES) {
      const { n, p, q, mp, mq, g } = inputsOf(shape);
      const [s, extra] = [values(shape.batch, 6), values(n, 7)];
      const per = n / shape.batch;
      const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
      const map = (f: (i: number, s: number, w: number) => number) =>
        Float64Array.from(
          p,
          (_, i) => f(i, s[Math.floor(i / per)], sigmoid(s[Math.floor(i / per)])),
        );
      const inputs = [p, q, mp, mq, s];
      const forward = lowerDfeCombine(shape, device.profile, SCALE_AND_ADD);
      const [out] = await runLowering(device, forward, inputs, [n], [extra]);
      const combined = map((i, s, w) => w * mp[i] + (1 - w) * mq[i] + (1 - s) * (q[i] - p[i]));
      close(out, combined.map((value, i) => 2 * value + extra[i]), 1e-5, "out");
      const backward = lowerDfeCombineBackward(shape, device.profile);
      const sizes = [n, n, n, n, shape.batch];
      const results = await runLowering(device, backward, [...inputs, g], sizes);
      const ds = new Float64Array(shape.batch);
      map((i, _, w) =>
        ds[Math.floor(i / per)] += g[i] * (w * (1 - w) * (mp[i] - mq[i]) - (q[i] - p[i]))
      );
      close(results[0], map((i, s) => (s - 1) * g[i]), 1e-6, "dp");
      close(results[1], map((i, s) => (1 - s) * g[i]), 1e-6, "dq");
      close(results[2], map((i, _, w) => w * g[i]), 1e-6, "dmappedP");
      close(results[3], map((i, _, w) => (1 - w) * g[i]), 1e-6, "dmappedQ");
      close(results[4], ds, 2e-5, "ds");
    }
  });
}
