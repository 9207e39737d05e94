import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { tensor } from "../engine/mod.ts";
import {
  boxIou,
  boxOfMask,
  pointGrid,
  suppressOverlaps,
  touchesCropEdge,
} from "../model/predictors/boxes.ts";
import { measureMasks } from "../model/predictors/mask_batch.ts";
import { AutomaticMaskGenerator } from "../model/predictors/mask_generator.ts";
import type { MaskBatchReport } from "../model/predictors/mask_options.ts";
import {
  type CocoRle,
  decodeCocoRle,
  encodeCocoRle,
  maskToRle,
  rleArea,
  rleToMask,
  type UncompressedRle,
} from "../model/predictors/rle.ts";
import type { BinaryMask } from "../model/predictors/video_options.ts";
import { values } from "./close.ts";
import { picture, smallModel } from "./predictor_model.ts";

const model = await smallModel();

/** Everything passes, so that there are masks whatever the weights are. */
const ALL = { predIouThresh: 0, stabilityScoreThresh: 0, boxNmsThresh: 1 };

Deno.test("run-length codes give back the mask, compressed or not", () => {
  for (const [width, height] of [[1, 1], [7, 5], [300, 40]]) {
    const noise = values(width * height, width);
    const data = Uint8Array.from(noise, (v) => v > 0.6 ? 1 : 0);
    for (const mask of [{ data, width, height }, { data: data.map((v) => 1 - v), width, height }]) {
      const rle = maskToRle(mask);
      deepEqual(rleToMask(rle), mask);
      equal(rleArea(rle), mask.data.reduce((a, b) => a + b, 0));
      deepEqual(decodeCocoRle(encodeCocoRle(rle)), rle);
    }
  }
});

Deno.test("encodeCocoRle() writes what COCO's tools write", () => {
  // Results of mask.frPyObjects in pycocotools.
  equal(encodeCocoRle({ size: [4, 3], counts: [4, 4, 4] }).counts, "444");
  equal(encodeCocoRle({ size: [10, 10], counts: [100] }).counts, "T3");
  equal(encodeCocoRle({ size: [9, 9], counts: [10, 3, 6, 1, 61] }).counts, ":36Ng1");
  const long = { size: [40, 30] as const, counts: [0, 700, 1, 33, 400, 1, 65] };
  equal(encodeCocoRle(long).counts, "0le01U[O_<POaE");
  deepEqual(decodeCocoRle(encodeCocoRle(long)), long);
  throws(() => decodeCocoRle({ size: [4, 3], counts: "T" }), /middle of a number/);
  throws(() => rleToMask({ size: [2, 2], counts: [3] }), /3 pixels do not fill/);
});

Deno.test("suppressOverlaps() keeps the better box, and the first of equals", () => {
  const boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [20, 0, 30, 10]] as const;
  deepEqual(suppressOverlaps(boxes, [1, 2, 5, 5], 0.7), [2, 1]);
  deepEqual(suppressOverlaps(boxes, [1, 2, 5, 5], 0.95), [2, 1, 0]);
  ok(Number.isNaN(boxIou([0, 0, 0, 0], [0, 0, 0, 0])), "boxes without area suppress nothing");
  deepEqual(suppressOverlaps([[0, 0, 0, 0], [0, 0, 0, 0]], [1, 1], 0.5), [0, 1]);
});

Deno.test("boxes touch the edge of a crop unless it is the edge of the image", () => {
  const crop = [50, 0, 150, 100] as const;
  const image = [0, 0, 400, 100] as const;
  ok(touchesCropEdge([60, 40, 90, 60], crop, image));
  ok(!touchesCropEdge([80, 2, 120, 98], crop, image));
  equal(pointGrid(1).length, 1);
  deepEqual(pointGrid(1)[0], [0.5, 0.5]);
});

Deno.test("measureMasks() counts and unpacks pixels at any width", async () => {
  const logits = tensor(values(5 * 36, 8), [5, 1, 6, 6]);
  for (const [height, width] of [[6, 6], [3, 16], [11, 33]] as const) {
    const thresholds = { maskThreshold: 0.1, stabilityScoreOffset: 0.2 };
    const measured = await measureMasks(logits, [4, 1], [height, width], thresholds);
    equal(measured.length, 2);
    for (const { stability, unpack } of measured) {
      const mask = unpack();
      equal(mask.data.length, height * width);
      ok(stability >= 0 && stability <= 1);
      deepEqual(rleToMask(maskToRle(mask)), mask);
    }
  }
  const [one] = await measureMasks(tensor([5, -5, -5, 5], [1, 1, 2, 2]), [0], [2, 2], {
    maskThreshold: 0,
    stabilityScoreOffset: 1,
  });
  deepEqual(Array.from(one.unpack().data), [1, 0, 0, 1]);
  equal(one.stability, 1);
});

Deno.test("AutomaticMaskGenerator returns the same masks in every form", async () => {
  const image = picture(2);
  const run = (outputMode: "binary_mask" | "uncompressed_rle" | "coco_rle") =>
    new AutomaticMaskGenerator(model, { ...ALL, pointsPerSide: 2, outputMode }).generate(image);
  const masks = await run("binary_mask");
  ok(masks.length > 0);
  const runs = await run("uncompressed_rle");
  const texts = await run("coco_rle");
  for (const [i, { segmentation, area, bbox, pointCoords, cropBox }] of masks.entries()) {
    const mask = segmentation as BinaryMask;
    deepEqual(maskToRle(mask), runs[i].segmentation as UncompressedRle);
    deepEqual(decodeCocoRle(texts[i].segmentation as CocoRle), runs[i].segmentation);
    equal(area, mask.data.reduce((a, b) => a + b, 0));
    const [x0, y0, x1, y1] = boxOfMask(mask);
    deepEqual(bbox, [x0, y0, x1 - x0, y1 - y0]);
    equal(pointCoords.length, 1);
    deepEqual(cropBox, [0, 0, 24, 20]);
  }
});

Deno.test("AutomaticMaskGenerator gives no masks where none passes, and reports each batch", async () => {
  const reports: MaskBatchReport[] = [];
  const onBatch = (report: MaskBatchReport) => reports.push(report);
  const strict = { predIouThresh: 2, cropNLayers: 1, pointsPerSide: 3, pointsPerBatch: 4 };
  const generator = new AutomaticMaskGenerator(model, strict);
  deepEqual(await generator.generate(picture(1), { onBatch }), []);
  equal(reports.length, 5 * 3);
  ok(reports.every(({ afterIou, afterEdge }) => afterIou === 0 && afterEdge === 0));
  deepEqual(reports.slice(0, 3).map(({ points }) => points), [4, 4, 1]);
});

Deno.test("AutomaticMaskGenerator takes points of its own, alike in batches of any size", async () => {
  const pointGrids = [[[0.2, 0.3], [0.7, 0.5], [0.9, 0.9]] as const];
  const run = (pointsPerBatch: number) =>
    new AutomaticMaskGenerator(model, { ...ALL, pointGrids, pointsPerBatch, useM2m: true })
      .generate(picture(2));
  const [together, apart] = [await run(64), await run(2)];
  deepEqual(together.map(({ area }) => area), apart.map(({ area }) => area));
  ok(together.length > 0);
});

Deno.test("AutomaticMaskGenerator refuses options that exclude each other or make no sense", () => {
  const make = (options: ConstructorParameters<typeof AutomaticMaskGenerator>[1]) => () =>
    new AutomaticMaskGenerator(model, options);
  throws(make({ pointsPerSide: 4, pointGrids: [[[0.5, 0.5]]] }), /either pointsPerSide or/);
  throws(make({ pointsPerSide: 0 }), /pointsPerSide is 0/);
  throws(make({ pointsPerBatch: 1.5 }), /pointsPerBatch is 1.5/);
  throws(make({ cropNLayers: 1, pointGrids: [[[0.5, 0.5]]] }), /2 crop layers needs points/);
  throws(make({ pointsPerSide: 3, cropNLayers: 1, cropNPointsDownscaleFactor: 4 }), /needs points/);
  throws(make({ cropNPointsDownscaleFactor: 0 }), /is 0; it must be a number from 1 on\.$/);
  throws(make({ cropOverlapRatio: 1.5 }), /is 1.5; it must be a number from 0 to 1\.$/);
  throws(make({ predIouThresh: NaN }), /predIouThresh is NaN; it must be a number\.$/);
});

Deno.test("AutomaticMaskGenerator refuses crop layers that leave a small image no pixels", async () => {
  const generator = new AutomaticMaskGenerator(model, { pointsPerSide: 1, cropNLayers: 2 });
  await rejects(generator.generate(picture(0, 2, 3)), {
    name: "UserError",
    message: "The image has 2 x 3 pixels, too few for crop layer 2.",
  });
});

Deno.test("AutomaticMaskGenerator gives images that are asked for at once their own masks", async () => {
  const generator = new AutomaticMaskGenerator(model, {
    ...ALL,
    pointsPerSide: 2,
    pointsPerBatch: 1,
    outputMode: "coco_rle",
  });
  const images = [picture(1), picture(2)];
  const expected = [];
  for (const image of images) expected.push(await generator.generate(image));
  deepEqual(await Promise.all(images.map((image) => generator.generate(image))), expected);
});
