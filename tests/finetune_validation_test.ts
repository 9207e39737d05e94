/** Dice of tracked objects: the table, and what is tracked for it. */
import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { FlatParameters } from "../engine/optim/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import type { SegmentedSequence } from "../train/data/sequence.ts";
import { DiceTable } from "../train/finetune/dice_table.ts";
import { measureTracking } from "../train/finetune/validation.ts";

Deno.test("DiceTable sums over frames, then averages over sequences and labels", () => {
  const table = new DiceTable(new Map([[2, "liver"]]));
  table.add("a", 2, { both: 1, prediction: 4, reference: 1 });
  table.add("a", 2, { both: 2, prediction: 2, reference: 3 });
  table.add("b", 2, { both: 5, prediction: 5, reference: 5 });
  table.add("b", 1, { both: 0, prediction: 0, reference: 7 });
  deepEqual(table.rows(), [
    { label: 1, name: "object 1", sequences: 1, dice: 0 },
    { label: 2, name: "liver", sequences: 2, dice: (0.6 + 1) / 2 },
  ]);
  equal(table.mean(), 0.4);
  deepEqual(table.toString().split("\n"), [
    "object    Dice (%)  sequences",
    "object 1      0.00          1",
    "liver        80.00          2",
    "mean         40.00",
  ]);
  equal(new DiceTable(new Map()).mean(), 0);
});

const [WIDTH, HEIGHT] = [20, 12];

/** Frames with the objects 5, largest in frame 1, and 9, in frame 2 only. */
const labels = [[4, 0], [9, 0], [6, 3]].map(([five, nine]) =>
  Uint16Array.from({ length: WIDTH * HEIGHT }, (_, i) => {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    if (y < 2 || y > 8) return 0;
    return x >= 2 && x < 2 + five ? 5 : x >= 15 && x < 15 + nine ? 9 : 0;
  })
);

const sequence: SegmentedSequence = {
  id: "folder/clip",
  name: "clip",
  count: labels.length,
  read: (t) => {
    const data = Uint8Array.from({ length: 3 * WIDTH * HEIGHT }, (_, i) => {
      const label = labels[t][Math.floor(i / 3)];
      return 20 + 20 * label + i * 5 % 11;
    });
    return Promise.resolve({ image: { data, width: WIDTH, height: HEIGHT }, labels: labels[t] });
  },
};

Deno.test("measureTracking() boxes objects where they are largest and tracks both ways", async () => {
  const model = new Sam2({ ...CONFIGS.nano, imageSize: 32 });
  const weights = await FlatParameters.create(model, { seed: 3 });
  const predictor = new VideoPredictor(model, {
    count: 3,
    width: WIDTH,
    height: HEIGHT,
    read: async (t) => (await sequence.read(t)).image,
  });
  await predictor.addPointsOrBox(1, 5, { box: [2, 2, 10, 8] });
  await predictor.addPointsOrBox(2, 9, { box: [15, 2, 17, 8] });
  const expected = new DiceTable(new Map());
  const frames = [];
  for (const reverse of [false, true]) {
    for await (const masks of predictor.propagate({ start: 1, reverse })) {
      if (reverse && masks.frame === 1) continue;
      frames.push(masks.frame);
      const plane = WIDTH * HEIGHT;
      for (const [k, label] of masks.objectIds.entries()) {
        let [both, prediction, reference] = [0, 0, 0];
        for (let i = 0; i < plane; i++) {
          const [p, r] = [masks.logits[k * plane + i] > 0, labels[masks.frame][i] === label];
          prediction += Number(p);
          reference += Number(r);
          both += Number(p && r);
        }
        expected.add("clip", label, { both, prediction, reference });
      }
    }
  }
  await predictor.close();
  deepEqual(frames, [1, 2, 0]);
  const stop = { requested: false };
  const names = new Map<number, string>();
  const table = await measureTracking(model, { sequences: [sequence], labelNames: names, stop });
  deepEqual(table?.rows(), expected.rows());
  stop.requested = true;
  const none = await measureTracking(model, { sequences: [sequence], labelNames: names, stop });
  equal(none, undefined);
  weights.destroy();
});
