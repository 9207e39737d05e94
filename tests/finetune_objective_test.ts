/** The training objective against plain sums, prompts drawn for it, and which parts learn. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { gradients, randomKeyData, read, readAll, tensor, zeros } from "../engine/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import type { SamHeadsOutput } from "../model/sam2/sam2_image.ts";
import { Random } from "../train/data/random.ts";
import { correctingClick, looseBox } from "../train/finetune/clicks.ts";
import { clipLoss, type ClipPlan } from "../train/finetune/clip.ts";
import { objective, predictionTerms } from "../train/finetune/objective.ts";
import { freeze, layerScale } from "../train/finetune/parts.ts";
import { clipLeaves, drawPlan } from "../train/finetune/sampling.ts";
import { close, values } from "./close.ts";

const SIZE = 32;

/** Square masks [B, 1, R, R] given by their corners (inclusive); `null` is an absent object. */
function squares(sides: readonly (readonly [number, number] | null)[]) {
  const data = new Float32Array(sides.length * SIZE * SIZE);
  sides.forEach((side, b) => {
    if (!side) return;
    for (let y = side[0]; y <= side[1]; y++) {
      data.fill(1, (b * SIZE + y) * SIZE + side[0], (b * SIZE + y) * SIZE + side[1] + 1);
    }
  });
  return tensor(data, [sides.length, 1, SIZE, SIZE]);
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** Focal, Dice and overlap of one mask, as the paper's formulas say. */
function reference(logits: Float32Array, target: Float32Array) {
  let [focal, both, sumP, sumY, shared, union] = [0, 0, 0, 0, 0, 0];
  logits.forEach((logit, i) => {
    const [p, y] = [sigmoid(logit), target[i]];
    const pt = y ? p : 1 - p;
    focal -= (y ? 0.25 : 0.75) * (1 - pt) ** 2 * Math.log(pt) / logits.length;
    both += p * y;
    sumP += p;
    sumY += y;
    shared += Number(logit > 0 && y > 0);
    union += Number(logit > 0 || y > 0);
  });
  return { focal, dice: 1 - (2 * both + 1) / (sumP + sumY + 1), overlap: shared / union };
}

Deno.test("predictionTerms() teaches the best of three masks, and only the score of an absent object", async () => {
  const area = SIZE * SIZE;
  const logits = values(2 * 3 * area, 5).map((x) => 3 * x);
  const target = squares([[4, 20], null]);
  const ious = Float32Array.of(0.2, 0.5, 0.9, 0.1, 0.2, 0.3);
  const scores = Float32Array.of(0.7, -0.4);
  const heads = {
    highResMultimasks: tensor(logits, [2, 3, SIZE, SIZE]),
    ious: tensor(ious, [2, 3]),
    objectScoreLogits: tensor(scores, [2, 1]),
  } as SamHeadsOutput;
  const terms = predictionTerms(heads, target);
  const y = target.host as Float32Array;
  const masks = [0, 1, 2].map((m) =>
    reference(Float32Array.from(logits).subarray(m * area, (m + 1) * area), y.subarray(0, area))
  );
  const best = masks.toSorted((a, b) => 20 * a.focal + a.dice - 20 * b.focal - b.dice)[0];
  const gap = masks.reduce((sum, { overlap }, m) => sum + Math.abs(ious[m] - overlap), 0) / 3;
  const score = (-Math.log(sigmoid(0.7)) - Math.log(1 - sigmoid(-0.4))) / 2;
  const wanted = [best.focal / 2, best.dice / 2, gap / 2, score];
  const [focal, dice, iou, objectScore, total] = await readAll([
    terms.focal,
    terms.dice,
    terms.iou,
    terms.objectScore,
    objective(terms),
  ]);
  close(
    Float32Array.of(focal[0], dice[0], iou[0], objectScore[0], total[0]),
    Float32Array.of(...wanted, 20 * wanted[0] + wanted[1] + wanted[2] + wanted[3]),
    1e-4,
    "terms",
  );
});

Deno.test("correctingClick() falls on what is missed, added, or off the object when all is right", async () => {
  const target = squares([[4, 9], [4, 9], [4, 9]]);
  const predicted = squares([null, [4, 15], [4, 9]]);
  const first = correctingClick(target, zeros(target.shape), tensor(randomKeyData(4), [2]));
  deepEqual([...await read(first.labels)], [1, 1, 1]);
  for (const seed of [1, 2, 3]) {
    const { coords, labels } = correctingClick(target, predicted, tensor(randomKeyData(seed), [2]));
    const [xy, label] = await readAll([coords, labels]);
    deepEqual([...label], [1, 0, 0]);
    const inside = [0, 1, 2].map((b) =>
      [xy[2 * b], xy[2 * b + 1]].every((v) => Number(v) >= 4 && Number(v) <= 9)
    );
    deepEqual(inside, [true, false, false]);
    ok(Number(xy[2]) <= 15 && Number(xy[3]) <= 15, "the second is on the wrong pixels");
  }
});

Deno.test("looseBox() moves each side by at most a tenth of its length", async () => {
  const { coords, labels } = looseBox(squares([[4, 24]]), tensor([1, -1, 0.5, 0], [1, 4]));
  const [xy, label] = await readAll([coords, labels]);
  close(xy, Float32Array.of(6, 2, 25, 24), 1e-5, "corners");
  deepEqual([...label], [2, 3]);
});

Deno.test("drawPlan() prompts frame 0 always and a single image by clicks or boxes", () => {
  const plans = Array.from({ length: 60 }, (_, i) => drawPlan(new Random(i), 4, 7));
  ok(plans.every(({ prompts }) => prompts.has(0) && prompts.size <= 2));
  const kinds = new Set(plans.flatMap(({ prompts }) => [...prompts.values()]));
  deepEqual([...kinds].sort(), ["box", "click", "mask"]);
  ok(plans.some(({ prompts, corrected }) => corrected.some((t) => !prompts.has(t))));
  for (const { prompts, corrected } of plans) {
    const byMask = [...prompts.values()].includes("mask");
    equal(corrected.length === 0, byMask);
    ok(corrected.length <= 2);
  }
  for (let i = 0; i < 20; i++) {
    const { prompts, corrected } = drawPlan(new Random(i), 1, 7);
    equal(prompts.get(0) === "mask", false);
    deepEqual(corrected, [0]);
  }
});

Deno.test("layerScale() falls from block to block of the trunk and spares position embeddings", () => {
  const scale = layerScale(3, 0.5);
  const blocks = [0, 1, 2].map((i) => scale(`image_encoder.trunk.blocks.${i}.norm1.weight`));
  close(Float32Array.from(blocks), Float32Array.of(0.075, 0.15, 0.3), 1e-6, "blocks");
  close(
    Float32Array.of(scale("image_encoder.trunk.patch_embed.proj.weight")),
    Float32Array.of(0.0375),
    1e-6,
    "patches",
  );
  equal(scale("image_encoder.trunk.pos_embed"), 0.6);
  equal(scale("sam_mask_decoder.iou_token.weight"), 1);
});

/** Keys that a clip of two frames teaches. */
function taught(model: Sam2, plan: ClipPlan): string[] {
  const image = { data: new Uint8Array(SIZE * SIZE * 3), width: SIZE, height: SIZE };
  const frame = { image, labels: new Uint8Array(SIZE * SIZE).fill(1, 40, 400) };
  const clip = { frames: [frame, frame], objects: [1] };
  const leaves = clipLeaves(new Random(0), [clip], { size: SIZE, clicks: 1 });
  const named = model.namedParameters().filter(([, p]) => p.trainable);
  const grads = gradients(clipLoss(model, leaves, plan).loss, named.map(([, p]) => p));
  return named.filter((_, i) => grads[i]).map(([key]) => key);
}

Deno.test("clipLoss() teaches memory through the frames, and nothing that is frozen", () => {
  const tiny = { ...CONFIGS.nano, imageSize: SIZE };
  const plan: ClipPlan = { prompts: new Map([[0, "mask"]]), corrected: [], clicks: 0 };
  const keys = taught(new Sam2(tiny), plan);
  for (const part of ["memory_encoder.", "memory_attention.", "obj_ptr_proj.", "image_encoder."]) {
    ok(keys.some((key) => key.startsWith(part)), part);
  }
  const model = new Sam2(tiny);
  freeze(model, ["trunk", "neck", "memory"]);
  const rest = taught(model, { ...plan, prompts: new Map([[0, "click"]]) });
  ok(rest.length > 0);
  ok(rest.every((key) => /^sam_(prompt_encoder|mask_decoder)\./.test(key)), `${rest}`);
});
