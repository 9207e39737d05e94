/** Properties of SAM-2's parts that hold for any weights. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import {
  cat,
  gradients,
  mul,
  randomKey,
  read,
  readAll,
  slice,
  sum,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import { initialise, type Module, Training } from "../engine/nn/mod.ts";
import { CONFIGS, MASK_DECODER } from "../model/config.ts";
import { takePerRow } from "../model/sam2/choose.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import { transformImage } from "../model/sam2/image_transform.ts";
import { MaskDecoder } from "../model/sam2/mask_decoder.ts";
import { MemoryAttention } from "../model/sam2/memory_attention.ts";
import { sinePositionEncoding, sinePositionEncoding1d } from "../model/sam2/position_encoding.ts";
import { PromptEncoder } from "../model/sam2/prompt_encoder.ts";
import { applyNonOverlappingConstraints, Sam2 } from "../model/sam2/sam2.ts";
import { close, values } from "./close.ts";

const random = (seed: number, ...shape: number[]): Tensor =>
  tensor(values(shape.reduce((a, b) => a * b, 1), seed), shape);

async function initialised<T extends Module>(module: T): Promise<T> {
  await initialise(module, 1);
  return module;
}

Deno.test("sinePositionEncoding() tells y in the first half and x in the second", async () => {
  const [channels, height, width] = [8, 3, 5];
  const table = await read(sinePositionEncoding(channels, height, width));
  const at = (c: number, y: number, x: number) => table[(c * height + y) * width + x];
  const angle = (i: number, size: number, k: number) =>
    (i + 1) / (size + 1e-6) * 2 * Math.PI / 10000 ** (2 * Math.floor(k / 2) / 4);
  const expected = Float64Array.from({ length: table.length }, (_, i) => {
    const [c, y, x] = [
      Math.floor(i / (height * width)),
      Math.floor(i / width) % height,
      i % width,
    ];
    const a = c < 4 ? angle(y, height, c) : angle(x, width, c - 4);
    return c % 2 === 0 ? Math.sin(a) : Math.cos(a);
  });
  close(table, expected, 1e-6, "encoding");
  equal(at(1, 2, 0), at(1, 2, 4));
});

Deno.test("sinePositionEncoding1d() is zero then one where the position is zero", async () => {
  const table = await read(sinePositionEncoding1d([0, 1], 4));
  close(table, [0, 0, 1, 1, Math.sin(1), Math.sin(1), Math.cos(1), Math.cos(1)], 1e-6, "encoding");
});

Deno.test("takePerRow() takes one entry per row and sends its gradient there only", async () => {
  const x = tensor([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [2, 3, 2]);
  const chosen = takePerRow(x, tensor(Uint32Array.of(2, 0)));
  const [g] = gradients(sum(mul(chosen, tensor([1, 10, 100, 1000], [2, 1, 2]))), [x]);
  const [out, gradient] = await readAll([chosen, g!]);
  deepEqual([...out], [5, 6, 7, 8]);
  deepEqual([...gradient], [0, 0, 0, 0, 1, 10, 100, 1000, 0, 0, 0, 0]);
});

Deno.test("applyNonOverlappingConstraints() leaves each pixel to one object", async () => {
  const masks = tensor([1, -3, -20, 2, -4, -30, 0, 5, -11], [3, 1, 1, 3]);
  deepEqual(
    [...await read(applyNonOverlappingConstraints(masks))],
    [-10, -10, -20, 2, -10, -30, -10, 5, -11],
  );
  const alone = random(1, 1, 1, 4, 4);
  equal(applyNonOverlappingConstraints(alone), alone);
});

Deno.test("PromptEncoder treats a point with label -1 as the padding it adds itself", async () => {
  const encoder = await initialised(new PromptEncoder(16, 64, 4, 16));
  const point = { coords: tensor([7, 40], [1, 1, 2]), labels: tensor([1], [1, 1]) };
  const padded = {
    coords: tensor([7, 40, 63, 1], [1, 2, 2]),
    labels: tensor(Int32Array.of(1, -1), [1, 2]),
  };
  const boxes = tensor([0, 0, 9, 9], [1, 4]);
  const [a, b] = await readAll([
    encoder.forward({ points: point }).sparse,
    // With a box there is no padding, so that only the given -1 remains.
    slice(encoder.forward({ points: padded, boxes }).sparse, 1, 0, 2),
  ]);
  deepEqual(a, b);
});

Deno.test("PromptEncoder gives a box and its corners as points the same tokens", async () => {
  const encoder = await initialised(new PromptEncoder(16, 64, 4, 16));
  const boxes = tensor([3, 5, 40, 60], [1, 4]);
  const points = { coords: tensor([3, 5, 40, 60], [1, 2, 2]), labels: tensor([2, 3], [1, 2]) };
  const [box, corners] = await readAll([
    encoder.forward({ boxes }).sparse,
    slice(encoder.forward({ points }).sparse, 1, 0, 2),
  ]);
  close(box, corners, 1e-6, "tokens");
  deepEqual(encoder.forward({}).sparse.shape, [1, 0, 16]);
});

Deno.test("MaskDecoder lets one image serve all objects, as if it were repeated", async () => {
  const config = { ...MASK_DECODER, transformerMlpDim: 16, iouHeadHiddenDim: 8 };
  const decoder = await initialised(new MaskDecoder(16, config));
  const [image, s0, s1] = [random(2, 1, 16, 2, 2), random(3, 1, 2, 8, 8), random(4, 1, 4, 4, 4)];
  const twice = (t: Tensor) => cat([t, t], 0);
  const prompts = {
    imagePositions: random(5, 1, 16, 2, 2),
    sparse: random(6, 2, 3, 16),
    dense: random(7, 2, 16, 2, 2),
  };
  const shared = decoder.forward({ ...prompts, imageEmbeddings: image, highRes: [s0, s1] }, true);
  const repeated = decoder.forward(
    { ...prompts, imageEmbeddings: twice(image), highRes: [twice(s0), twice(s1)] },
    true,
  );
  const [a, b] = await readAll([shared.masks, repeated.masks]);
  close(a, b, 1e-6, "masks");
  throws(() => decoder.forward({ ...prompts, imageEmbeddings: image }, true), /2 high-resolution/);
});

Deno.test("MaskDecoder counts an empty mask as stable", async () => {
  const decoder = new MaskDecoder(16, { ...MASK_DECODER, dynamicMultimaskStabilityDelta: 0.5 });
  const masks = tensor([-3, -2, -1, -4, 2, 0.2, -0.2, -1], [2, 1, 2, 2]);
  close(await read(decoder.stabilityScores(masks)), [1, 1 / 3], 1e-6, "stability");
});

Deno.test("MemoryAttention does not depend on the order of remembered frames", async () => {
  const config = { numLayers: 1, dimFeedforward: 8, dropout: 0.1, ropeTheta: 10000 };
  const attention = await initialised(new MemoryAttention(8, 4, config));
  const [features, place] = [random(1, 2, 6, 8), random(2, 1, 6, 8)];
  const frames = [random(3, 2, 6, 4), random(4, 2, 6, 4)];
  const times = [random(5, 1, 6, 4), random(6, 1, 6, 4)];
  const [pointer, pointerTime] = [random(7, 2, 2, 4), random(8, 1, 2, 4)];
  const run = (order: readonly number[], training?: Training) =>
    attention.forward(
      features,
      place,
      {
        memory: cat([...order.map((i) => frames[i]), pointer], 1),
        positions: cat([...order.map((i) => times[i]), pointerTime], 1),
        pointerTokens: 2,
      },
      { grid: [2, 3], training },
    );
  const train = (seed: number) => run([0, 1], new Training(randomKey(seed)));
  const [forward, backward, dropped, again, other] = await readAll([
    run([0, 1]),
    run([1, 0]),
    train(1),
    train(1),
    train(2),
  ]);
  close(forward, backward, 1e-5, "features");
  deepEqual(dropped, again);
  ok(dropped.some((v, i) => v !== other[i]));
  ok(dropped.some((v, i) => Math.abs(v - forward[i]) > 1e-3));
});

Deno.test("Sam2.usesMultimask() is true up to one point, and false for a box", () => {
  const model = new Sam2(CONFIGS.nano);
  const points = (count: number) => ({
    coords: random(1, 1, count, 2),
    labels: random(2, 1, count),
  });
  ok(model.usesMultimask(true, undefined));
  ok(model.usesMultimask(true, points(1)));
  ok(!model.usesMultimask(true, points(2)));
  const imageOnly = new Sam2({ ...CONFIGS.nano, multimaskOutputForTracking: false });
  ok(imageOnly.usesMultimask(true, points(1)));
  ok(!imageOnly.usesMultimask(false, points(1)));
});

Deno.test("Sam2 refuses sizes that its parts cannot have", () => {
  throws(() => new Sam2({ ...CONFIGS.nano, imageSize: 100 }), /100 is not a multiple of 32/);
  throws(() => new Sam2({ ...CONFIGS.nano, memDim: 24 }), /memDim 24 does not divide dModel 64/);
});

Deno.test("transformImage() normalises a flat image to one value per channel", async () => {
  const data = Uint8Array.from({ length: 3 * 5 * 3 }, (_, i) => [255, 0, 51][i % 3]);
  const out = await read(transformImage({ data, width: 5, height: 3 }, 4));
  const expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225];
  close(out, expected.flatMap((v) => new Array<number>(16).fill(v)), 1e-5, "channels");
  throws(
    () => transformImage({ data, width: 4, height: 3 }, 4),
    /45 bytes; 4 x 3 RGB pixels need 36/,
  );
});

Deno.test("ImagePredictor asks for an image before it predicts", async () => {
  const predictor = new ImagePredictor(new Sam2(CONFIGS.nano));
  await rejects(predictor.predict([{ points: [[1, 1]], labels: [1] }]), /Set an image/);
});
