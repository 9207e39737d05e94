import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import {
  forgetPlans,
  interpolate,
  mul,
  ones,
  permute,
  read,
  runtime,
  tensor,
} from "../engine/mod.ts";
import { resizePlane } from "../model/sam2/host_resize.ts";
import { ImagePredictor, type Prediction } from "../model/sam2/image_predictor.ts";
import { readMasks } from "../model/sam2/read_masks.ts";
import { close, values } from "./close.ts";
import { binding } from "./engine_modes.ts";
import { picture, SIZE, smallModel } from "./predictor_model.ts";

const model = await smallModel();
const CLICK = { points: [[6, 9]] as const, labels: [1] };

/** What a promise gave. */
function valueOf<T>(settled: PromiseSettledResult<T>): T {
  if (settled.status === "rejected") throw settled.reason;
  return settled.value;
}

Deno.test("ImagePredictor predicts on an image of a batch as on the image alone", async () => {
  const images = [picture(0), picture(5, 17, 31)];
  const batch = new ImagePredictor(model);
  await batch.setImages(images);
  for (const [i, image] of images.entries()) {
    const alone = new ImagePredictor(model);
    await alone.setImage(image);
    const own = await alone.predict([CLICK]);
    const { maskLogits, ious, lowResLogits, masksPerObject } = await batch.predict([CLICK], {
      image: i,
    });
    equal(masksPerObject, 3);
    equal(maskLogits.length, 3 * image.width * image.height);
    close(maskLogits, own.maskLogits, 1e-4, `logits of image ${i}`);
    close(lowResLogits, own.lowResLogits, 1e-4, `low-resolution logits of image ${i}`);
    close(ious, own.ious, 1e-5, `overlaps of image ${i}`);
    await alone.reset();
  }
  await rejects(batch.predict([CLICK], { image: 2 }), /no image 2: 2 are set/);
  await batch.reset();
});

Deno.test("ImagePredictor gives calls that are made at once their own images", async () => {
  const images = [picture(0), picture(5, 17, 31)];
  const predictor = new ImagePredictor(model, { maxHoleArea: 3 });
  const expected: Prediction[] = [];
  for (const image of images) {
    await predictor.setImage(image);
    expected.push(await predictor.predict([CLICK]));
  }
  await predictor.reset();
  await forgetPlans();
  const { counters } = await runtime();
  const before = counters.liveBytes;
  const [, first, , second, , after] = await Promise.allSettled([
    predictor.setImage(images[0]),
    predictor.predict([CLICK]),
    predictor.setImage(images[1]),
    predictor.predict([CLICK]),
    predictor.reset(),
    predictor.predict([CLICK]),
  ]);
  deepEqual([valueOf(first), valueOf(second)], expected);
  throws(() => valueOf(after), /Set an image before/);
  await Promise.all(images.map((image) => predictor.setImage(image)));
  await predictor.reset();
  await forgetPlans();
  equal(counters.liveBytes, before);
});

Deno.test("ImagePredictor keeps its image when another or an embedding is refused", async () => {
  const predictor = new ImagePredictor(model);
  await predictor.setImage(picture(1));
  const expected = await predictor.predict([CLICK]);
  const embedding = await predictor.embedding();
  const levels = embedding.levels.map(({ shape, data }) => ({ shape, data: data.subarray(1) }));
  await rejects(predictor.setEmbedding({ ...embedding, levels }), /does not fit 255 values/);
  await rejects(predictor.setImage({ ...picture(2), width: 5 }), /the image has/i);
  deepEqual(await predictor.predict([CLICK]), expected);
  await predictor.reset();
});

Deno.test("ImagePredictor predicts the same from a saved embedding", async () => {
  const predictor = new ImagePredictor(model);
  await predictor.setImages([picture(3), picture(1)]);
  const before = await predictor.predict([CLICK], { image: 1 });
  const embedding = await predictor.embedding(1);
  deepEqual([embedding.width, embedding.height], [24, 20]);
  deepEqual(embedding.levels[2].shape, [1, 32, SIZE / 16, SIZE / 16]);
  const other = new ImagePredictor(model);
  await other.setEmbedding(embedding);
  const after = await other.predict([CLICK]);
  close(after.maskLogits, before.maskLogits, 1e-5, "logits");
  const larger = new ImagePredictor(await smallModel({ imageSize: 64 }));
  await rejects(larger.setEmbedding(embedding), /levels of .*; this model's are/);
  await other.reset();
  await predictor.reset();
});

Deno.test("ImagePredictor takes several boxes at once, and coordinates as shares", async () => {
  const predictor = new ImagePredictor(model);
  await predictor.setImage(picture(0));
  const boxes = [{ box: [2, 3, 12, 15] as const }, { box: [6, 5, 24, 20] as const }];
  const together = await predictor.predict(boxes, { multimask: false });
  const plane = 24 * 20;
  for (const [i, { box: [x0, y0, x1, y1] }] of boxes.entries()) {
    const box = [x0 / 24, y0 / 20, x1 / 24, y1 / 20] as const;
    const alone = await predictor.predict([{ box }], { multimask: false, normalized: true });
    const part = together.maskLogits.subarray(i * plane, (i + 1) * plane);
    close(part, alone.maskLogits, 1e-4, `box ${i}`);
  }
  await predictor.reset();
});

Deno.test("ImagePredictor fills holes and removes sprinkles before it enlarges masks", async () => {
  const side = SIZE / 4;
  const predictor = new ImagePredictor(model, { maxHoleArea: 1, maxSprinkleArea: 2 });
  const logits = new Float32Array(side * side).fill(4);
  logits.fill(-4, 5 * side);
  logits[side + 1] = -1;
  logits[6 * side + 6] = 1;
  const finished = await read(
    await predictor.removeSmallRegions(
      tensor(logits, [1, 1, side, side]),
    ),
  );
  equal(finished[side + 1], 10);
  equal(finished[6 * side + 6], -10);
  equal(finished.filter((v, i) => v !== logits[i]).length, 2);
});

Deno.test("ImagePredictor takes more points on a large image than full-size masks fit in a tensor", async () => {
  const predictor = new ImagePredictor(model);
  await predictor.setImage(picture(0));
  // As large as a photograph; the features do not tell.
  await predictor.setEmbedding({ ...await predictor.embedding(), width: 6000, height: 4000 });
  const count = 64;
  const lazy = predictor.predictTensors(
    { coords: tensor(values(2 * count, 5), [count, 1, 2]), labels: ones([count, 1]) },
    true,
  );
  deepEqual((await read(lazy.ious)).length, 3 * count);
  throws(() => lazy.maskLogits, /elements/);
  await predictor.reset();
});

Deno.test("ImagePredictor refuses unusable images and prompts in one sentence", async () => {
  const predictor = new ImagePredictor(model);
  await rejects(predictor.predict([CLICK]), /Set an image before/);
  await rejects(predictor.setImages([]), /no image to encode/);
  const short = { data: new Uint8Array(5), width: 2, height: 2 };
  await rejects(predictor.setImage(short), /5 bytes; 2 x 2 RGB pixels need 12/);
  for (const [width, height] of [[0, 0], [2.5, 2], [-1, -5]]) {
    const odd = { ...short, width, height };
    await rejects(predictor.setImage(odd), { message: /^An image cannot have .* pixels\.$/ });
  }
  throws(() => predictor.features, /Set an image/);
  await predictor.setImage(picture(0));
  await rejects(predictor.predict([]), /no object to predict/);
  await rejects(predictor.predict([{}]), /needs points, a box or/);
  await rejects(predictor.predict([{ points: [[1, NaN]], labels: [1] }]), /1, NaN are not finite/);
  await rejects(predictor.predict([CLICK, {}]), /same number of points/);
  for (const label of [4, 0.5, NaN]) {
    const prompt = { points: [[1, 1]] as const, labels: [label] };
    await rejects(
      predictor.predict([prompt]),
      new RegExp(`^UserError: Point labels .* not ${label}`),
    );
  }
  const maskLogits = new Float32Array(5);
  await rejects(predictor.predict([{ ...CLICK, maskLogits }]), /8 x 8 each/);
  await predictor.reset();
});

Deno.test("resizePlane() agrees with interpolate() on one channel of many", async () => {
  const [height, width] = [23, 37];
  const data = values(height * width * 3, 4);
  const all = permute(tensor(data, [1, height, width, 3]), [0, 3, 1, 2]);
  for (const [size, antialias] of [[[40, 11], true], [[9, 60], false]] as const) {
    const expected = await read(interpolate(all, { size, mode: "bilinear", antialias }));
    const plane = size[0] * size[1];
    for (let c = 0; c < 3; c++) {
      const resized = resizePlane({ data, offset: c, step: 3, height, width }, size, antialias);
      close(resized, expected.subarray(c * plane, (c + 1) * plane), 1e-5, `channel ${c}`);
    }
  }
});

Deno.test("readMasks() gives the same where masks exceed what the adapter binds", async () => {
  const masks = tensor(values(3 * 64, 6), [3, 1, 8, 8]);
  const size = [40, 37] as const;
  const other = mul(tensor([1, 2]), 3);
  const whole = await readMasks(masks, size, [other]);
  for (const masksThatFit of [2, 1, 0.5]) {
    const limit = masksThatFit * 40 * 37 * 4 + 256;
    const cut = await binding(limit, () => readMasks(masks, size, [other]));
    close(cut.logits, whole.logits, 1e-5, `${masksThatFit} masks at once`);
    deepEqual(cut.others, [Float32Array.of(3, 6)]);
  }
  ok(whole.logits.length === 3 * 40 * 37);
});
