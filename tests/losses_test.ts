import { ok, strictEqual as equal, throws } from "node:assert/strict";
import {
  bceWithLogits,
  crossEntropy,
  diceLoss,
  gradients,
  l1Loss,
  mseLoss,
  read,
  readAll,
  sigmoidFocalLoss,
  softmaxDice,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { hashValues } from "../train/parity/hash.ts";
import { onSchedule } from "./engine_modes.ts";
import { checkGradients } from "./gradcheck.ts";
import { SCHEDULES } from "./kernel_harness.ts";

const [BATCH, CLASSES, SIDE] = [2, 3, 5];
const PIXELS = SIDE * SIDE;
const logits = hashValues("losses/logits", BATCH * CLASSES * PIXELS, 0, 4);
const target = Uint32Array.from({ length: BATCH * PIXELS }, (_, i) => (i * 7 + 1) % CLASSES);
const weight = Float32Array.from({ length: BATCH * PIXELS }, (_, i) => i % 4 === 0 ? 0 : 1 + i % 3);

const lazyLogits = () => tensor(logits, [BATCH, CLASSES, SIDE, SIDE]);
const lazyTarget = () => tensor(target, [BATCH, SIDE, SIDE]);
const lazyWeight = () => tensor(weight, [BATCH, SIDE, SIDE]);

/** Class probabilities at position i of image b. */
function probabilities(b: number, i: number): number[] {
  const z = Array.from({ length: CLASSES }, (_, c) => logits[(b * CLASSES + c) * PIXELS + i]);
  const total = z.reduce((sum, v) => sum + Math.exp(v), 0);
  return z.map((v) => Math.exp(v) / total);
}

function eachPixel(visit: (p: number[], y: number, w: number) => void): void {
  for (let b = 0; b < BATCH; b++) {
    for (let i = 0; i < PIXELS; i++) {
      const at = b * PIXELS + i;
      visit(probabilities(b, i), target[at], weight[at]);
    }
  }
}

async function near(t: Tensor, expected: number, tolerance = 2e-6): Promise<void> {
  const [value] = await read(t);
  ok(
    Math.abs(value - expected) <= tolerance * Math.max(1, Math.abs(expected)),
    `${value} ${expected}`,
  );
}

Deno.test("crossEntropy() averages by weight and ignores positions of weight 0", async () => {
  let [plain, weighted, weights] = [0, 0, 0];
  eachPixel((p, y, w) => {
    plain -= Math.log(p[y]);
    weighted -= w * Math.log(p[y]);
    weights += w;
  });
  await near(crossEntropy(lazyLogits(), lazyTarget()), plain / target.length);
  await near(crossEntropy(lazyLogits(), lazyTarget(), { reduction: "sum" }), plain);
  const options = { weight: lazyWeight() };
  await near(crossEntropy(lazyLogits(), lazyTarget(), options), weighted / weights);
});

Deno.test("crossEntropy() of ignored positions only is 0 with zero gradients", async () => {
  const x = lazyLogits();
  const none = tensor(new Float32Array(target.length), [BATCH, SIDE, SIDE]);
  const loss = crossEntropy(x, lazyTarget(), { weight: none });
  const [value, gradient] = await readAll([loss, gradients(loss, [x])[0]!]);
  equal(value[0], 0);
  ok(gradient.every((g) => g === 0));
});

Deno.test("crossEntropy() refuses targets of another shape", () => {
  const wrong = tensor(new Uint32Array(BATCH * PIXELS), [BATCH, PIXELS]);
  throws(() => crossEntropy(lazyLogits(), wrong), /do not fit logits/);
});

Deno.test("softmaxDice() follows its definition, with and without weights", async () => {
  const smooth = 1e-5;
  const sums = (weighted: boolean) => {
    const out = Array.from({ length: CLASSES }, () => ({ py: 0, pp: 0, y: 0 }));
    eachPixel((p, y, w) => {
      const factor = weighted ? w : 1;
      p.forEach((v, c) => {
        out[c].pp += factor * v * v;
        if (c === y) out[c].py += factor * v;
        if (c === y) out[c].y += factor;
      });
    });
    const losses = out.map(({ py, pp, y }) => 1 - (2 * py + smooth) / (pp + y + smooth));
    return losses.reduce((a, b) => a + b) / CLASSES;
  };
  await near(softmaxDice(lazyLogits(), lazyTarget()), sums(false));
  await near(softmaxDice(lazyLogits(), lazyTarget(), { weight: lazyWeight() }), sums(true));
});

Deno.test("losses take masks of whole numbers and of f16", async () => {
  const x = tensor(logits.slice(0, 12), [3, 4]);
  const mask = Array.from({ length: 12 }, (_, i) => i % 3 === 0 ? 1 : 0);
  const kinds = [Float32Array, Float16Array, Uint32Array, Int32Array].map((kind) =>
    tensor(kind.from(mask), [3, 4])
  );
  const results = await readAll(kinds.flatMap((y) => [
    ...[bceWithLogits(x, y, { weight: y }), diceLoss(x, y), sigmoidFocalLoss(x, y)],
    ...[mseLoss(x, y), l1Loss(x, y)],
  ]));
  results.forEach((loss, i) => equal(loss[0], results[i % 5][0], `${i}`));
});

Deno.test("bceWithLogits() does not cancel for confident logits of either sign", async () => {
  const x = [-80, -20, -1, 0, 1, 20, 80];
  for (const y of [0, 1, 0.25]) {
    const t = tensor(new Float32Array(x.length).fill(y));
    const values = await read(bceWithLogits(tensor(x), t, { reduction: "none" }));
    x.forEach((v, i) => {
      const softplus = (z: number) => z > 30 ? z : Math.log1p(Math.exp(z));
      const expected = y * softplus(-v) + (1 - y) * softplus(v);
      const limit = 1e-6 * expected + 1e-7;
      ok(Math.abs(values[i] - expected) <= limit, `${v} ${y}: ${values[i]} ${expected}`);
    });
  }
});

Deno.test("bceWithLogits() scales the positive term by posWeight", async () => {
  const x = tensor([0.5, -1.5]);
  const t = tensor([1, 0]);
  const expected = (2 * Math.log1p(Math.exp(-0.5)) + Math.log1p(Math.exp(-1.5))) / 2;
  await near(bceWithLogits(x, t, { posWeight: 2 }), expected);
});

for (const schedule of SCHEDULES) {
  Deno.test(`losses have the gradients of their differences on ${schedule}`, () =>
    onSchedule(schedule, async () => {
      const shape = [2, 3, 5];
      const hard = Float32Array.from({ length: 30 }, (_, i) => i % 3 === 0 ? 1 : 0);
      const soft = { shape, low: 0.1, high: 0.9 };
      const y = tensor(hard, shape);
      const losses: Record<string, (x: Tensor) => Tensor> = {
        diceLoss: (x) => diceLoss(x, y),
        sigmoidFocalLoss: (x) => sigmoidFocalLoss(x, y),
        "sigmoidFocalLoss with gamma 1.5": (x) => sigmoidFocalLoss(x, y, { gamma: 1.5, alpha: -1 }),
        bceWithLogits: (x) => bceWithLogits(x, y, { posWeight: 3 }),
      };
      for (const [name, f] of Object.entries(losses)) {
        await checkGradients(name, { inputs: [{ shape, low: -3, high: 3 }], f });
      }
      await checkGradients("bceWithLogits in both", {
        inputs: [{ shape }, soft],
        f: (x, t) => bceWithLogits(x, t),
      });
      await checkGradients("mseLoss", {
        inputs: [{ shape }, { shape }],
        f: (a, b) => mseLoss(a, b),
      });
      await checkGradients("l1Loss", {
        inputs: [{ shape, low: 1, high: 2 }, { shape }],
        f: (a, b) => l1Loss(a, b),
      });
      const classShape = [BATCH, CLASSES, SIDE, SIDE];
      await checkGradients("softmaxDice", {
        inputs: [{ shape: classShape }],
        f: (x) => softmaxDice(x, lazyTarget(), { weight: lazyWeight() }),
      });
      await checkGradients("crossEntropy", {
        inputs: [{ shape: classShape }],
        f: (x) => crossEntropy(x, lazyTarget(), { weight: lazyWeight() }),
      });
    }));
}
