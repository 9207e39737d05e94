/** Masks of everything in an image, from a grid of points. */
import {
  dispose,
  indexSelect,
  leaf,
  reshape,
  submit,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import { ImagePredictor, promptLogits } from "../sam2/image_predictor.ts";
import type { Point } from "../sam2/image_prompts.ts";
import type { RgbImage } from "../sam2/image_transform.ts";
import type { Sam2Image } from "../sam2/sam2_image.ts";
import {
  type Box,
  boxArea,
  boxOfMask,
  type Crop,
  cropBoxes,
  suppressOverlaps,
  touchesCropEdge,
  toXywh,
  uncropBox,
} from "./boxes.ts";
import { measureMasks } from "./mask_batch.ts";
import {
  type AutomaticMaskOptions,
  type MaskBatchReport,
  type MaskRecord,
  type ResolvedMaskOptions,
  resolveMaskOptions,
} from "./mask_options.ts";
import { encodeCocoRle, maskToRle, rleArea, rleToMask, type UncompressedRle } from "./rle.ts";
import type { BinaryMask } from "./video_options.ts";

/** A mask that passed the filters, in coordinates of the image. */
interface Candidate {
  readonly rle: UncompressedRle;
  /** In coordinates of the crop until duplicates are removed there. */
  readonly box: Box;
  readonly iou: number;
  readonly stability: number;
  readonly point: Point;
  readonly crop: Box;
}

/** Decoded masks, in GPU memory. */
interface Decoded {
  /** Logits, [n, 1, R / 4, R / 4]. */
  readonly masks: Tensor;
  /** Predicted overlaps, one per mask. */
  readonly ious: Float32Array;
  /** The points that prompted them; there may be fewer than masks, which then are padding. */
  readonly points: readonly Point[];
}

/** A crop with its pixels. */
interface Part {
  readonly crop: Box;
  readonly pixels: RgbImage;
  readonly image: RgbImage;
  /** Prompts of one run of the decoder; a smaller batch is filled up, so that one plan serves all. */
  readonly batch: number;
}

/** How {@link AutomaticMaskGenerator.generate} reports. */
export interface GenerateOptions {
  /** Called after each batch of points. */
  readonly onBatch?: (report: MaskBatchReport) => void;
}

/**
 * Generates masks for a whole image: prompts a grid of points, on the image and on crops of it, and
 * keeps good, stable masks without duplicates. Images run one after the other, also where they are not
 * awaited.
 *
 * @example All masks of an image, largest first
 * ```ts
 * import { AutomaticMaskGenerator, CONFIGS, FlatParameters, Sam2 } from "sam2";
 *
 * const model = new Sam2({ ...CONFIGS.nano, imageSize: 64 });
 * await FlatParameters.create(model); // random weights; loadWeights() puts others in their place
 * const generator = new AutomaticMaskGenerator(model, { pointsPerSide: 4, outputMode: "coco_rle" });
 * const image = { data: new Uint8Array(40 * 30 * 3), width: 40, height: 30 };
 * const masks = await generator.generate(image);
 * masks.sort((a, b) => b.area - a.area);
 * console.log(masks.map(({ area, bbox }) => ({ area, bbox })));
 * ```
 */
export class AutomaticMaskGenerator {
  private readonly options: ResolvedMaskOptions;
  private readonly predictor: ImagePredictor;
  private readonly turns = new Turns();

  /** A generator with its options. @throws {UserError} for options that exclude each other or make no sense. */
  constructor(model: Sam2Image, given: AutomaticMaskOptions = {}) {
    this.options = resolveMaskOptions(given);
    const { precision, minMaskRegionArea: area } = this.options;
    const options = { precision, maxHoleArea: area, maxSprinkleArea: area };
    this.predictor = new ImagePredictor(model, options);
  }

  /** The points of each crop layer, (x, y) in [0, 1]. */
  get pointGrids(): readonly (readonly Point[])[] {
    return this.options.grids;
  }

  /**
   * The masks of an image; none where nothing passes the filters.
   *
   * @throws {UserError} where the data do not fit the image's size, or crops of it would be empty.
   */
  generate(image: RgbImage, options: GenerateOptions = {}): Promise<MaskRecord[]> {
    return this.turns.take(() => this.generated(image, options));
  }

  /** The masks of an image, in its turn. */
  private async generated(image: RgbImage, { onBatch }: GenerateOptions): Promise<MaskRecord[]> {
    const { cropNLayers, cropOverlapRatio, cropNmsThresh } = this.options;
    const crops = cropBoxes(image.height, image.width, cropNLayers, cropOverlapRatio);
    const empty = crops.find(({ box: [x0, y0, x1, y1] }) => x1 <= x0 || y1 <= y0);
    if (empty) {
      throw new UserError(
        `The image has ${image.width} x ${image.height} pixels, too few for crop layer ${empty.layer}.`,
      );
    }
    let found: Candidate[] = [];
    for (const crop of crops) found.push(...await this.processCrop(image, crop, onBatch));
    if (crops.length > 1) {
      const scores = found.map(({ crop }) => 1 / boxArea(crop));
      const kept = suppressOverlaps(found.map(({ box }) => box), scores, cropNmsThresh);
      found = kept.map((i) => found[i]);
    }
    return found.map((candidate) => this.record(candidate));
  }

  /** Masks of one crop, without duplicates, best first. */
  private async processCrop(
    image: RgbImage,
    { box, layer }: Crop,
    onBatch: GenerateOptions["onBatch"],
  ): Promise<Candidate[]> {
    const pixels = cropImage(image, box);
    await this.predictor.setImage(pixels);
    const points = this.options.grids[layer].map(([x, y]): Point => [
      x * pixels.width,
      y * pixels.height,
    ]);
    const { pointsPerBatch, boxNmsThresh } = this.options;
    const batch = Math.min(pointsPerBatch, points.length);
    const found: Candidate[] = [];
    try {
      for (let i = 0; i < points.length; i += batch) {
        const part = { crop: box, pixels, image, batch };
        found.push(...await this.processBatch(part, points.slice(i, i + batch), onBatch));
      }
    } finally {
      await this.predictor.reset();
    }
    const scores = found.map(({ iou }) => iou);
    const kept = suppressOverlaps(found.map((c) => c.box), scores, boxNmsThresh);
    return kept.map((i) => ({ ...found[i], box: uncropBox(found[i].box, box) }));
  }

  /** Masks of some points that pass the filters. */
  private async processBatch(
    part: Part,
    points: readonly Point[],
    onBatch: GenerateOptions["onBatch"],
  ): Promise<Candidate[]> {
    const { multimaskOutput, useM2m } = this.options;
    const first = await this.decode(part, points, multimaskOutput);
    const decoded = [first];
    const found: Candidate[] = [];
    const report = { crop: part.crop, points: points.length, afterIou: 0, afterStability: 0 };
    try {
      if (useM2m) decoded.push(...await this.refine(part, first));
      for (const masks of useM2m ? decoded.slice(1) : decoded) {
        const { afterIou, afterStability, candidates } = await this.filter(part, masks);
        report.afterIou += afterIou;
        report.afterStability += afterStability;
        found.push(...candidates);
      }
    } finally {
      await dispose(decoded.map(({ masks }) => masks));
    }
    onBatch?.({ ...report, afterEdge: found.length });
    return found;
  }

  /** Predicts masks for points, one or three each; with logits, for a point and a mask each. */
  private async decode(
    { pixels, batch }: Part,
    points: readonly Point[],
    multimask: boolean,
    logits?: Tensor,
  ): Promise<Decoded> {
    const { imageSize } = this.predictor.model.config;
    const filled = Array.from({ length: batch }, (_, i) => points[Math.min(i, points.length - 1)]);
    const coords = filled.flatMap(([x, y]) => [
      x / pixels.width * imageSize,
      y / pixels.height * imageSize,
    ]);
    const prompts = {
      coords: tensor(coords, [batch, 1, 2]),
      labels: tensor(new Array<number>(batch).fill(1), [batch, 1]),
      masks: logits,
    };
    const lazy = this.predictor.predictTensors(prompts, multimask);
    const [, masksPerPoint, height, width] = lazy.decoded.shape;
    const masks = reshape(lazy.decoded, [batch * masksPerPoint, 1, height, width]);
    const [ious] = await (await submit({ read: [lazy.ious], keep: [masks] }))() as Float32Array[];
    return {
      masks: leaf(masks.storage!, masks.shape),
      ious,
      points: points.flatMap((point) => new Array<Point>(masksPerPoint).fill(point)),
    };
  }

  /** Predicts each mask again, with its own logits as a prompt. */
  private async refine(part: Part, { masks, points }: Decoded): Promise<Decoded[]> {
    const refined: Decoded[] = [];
    for (let i = 0; i < points.length; i += part.batch) {
      const rows = Uint32Array.from(
        { length: part.batch },
        (_, k) => Math.min(i + k, points.length - 1),
      );
      const logits = promptLogits(indexSelect(masks, 0, tensor(rows)));
      refined.push(await this.decode(part, points.slice(i, i + part.batch), false, logits));
    }
    return refined;
  }

  /**
   * Masks of sufficient predicted overlap and stability that touch no inner edge of the crop; boxes are in
   * coordinates of the crop.
   */
  private async filter(
    part: Part,
    { masks, ious, points }: Decoded,
  ): Promise<{ afterIou: number; afterStability: number; candidates: Candidate[] }> {
    const { pixels, image, crop } = part;
    const { predIouThresh, stabilityScoreThresh } = this.options;
    const good = points.map((_, i) => i)
      .filter((i) => predIouThresh <= 0 || ious[i] > predIouThresh);
    const finished = good.length > 0 ? await this.predictor.removeSmallRegions(masks) : masks;
    const size = [pixels.height, pixels.width] as const;
    const measured = await measureMasks(finished, good, size, this.options);
    const stable = measured.map((mask, k) => ({ ...mask, place: good[k] }))
      .filter(({ stability }) => stabilityScoreThresh <= 0 || stability >= stabilityScoreThresh);
    const candidates = stable.flatMap(({ stability, unpack, place }): Candidate[] => {
      const mask = unpack();
      const box = boxOfMask(mask);
      if (touchesEdge(box, part)) return [];
      const [x, y] = points[place];
      const rle = maskToRle(uncropMask(mask, crop, image));
      const point = [x + crop[0], y + crop[1]] as const;
      return [{ rle, box, iou: ious[place], stability, point, crop }];
    });
    return { afterIou: good.length, afterStability: stable.length, candidates };
  }

  /** A candidate in the form that was asked for. */
  private record({ rle, box, iou, stability, point, crop }: Candidate): MaskRecord {
    const segmentation = {
      binary_mask: rleToMask,
      uncompressed_rle: (runs: UncompressedRle) => runs,
      coco_rle: encodeCocoRle,
    }[this.options.outputMode](rle);
    return {
      segmentation,
      area: rleArea(rle),
      bbox: toXywh(box),
      predictedIou: iou,
      pointCoords: [point],
      stabilityScore: stability,
      cropBox: toXywh(crop),
    };
  }
}

const touchesEdge = (box: Box, { crop, image }: Part) =>
  touchesCropEdge(uncropBox(box, crop), crop, [0, 0, image.width, image.height]);

/** The pixels inside a box. */
function cropImage(image: RgbImage, [x0, y0, x1, y1]: Box): RgbImage {
  const [width, height] = [x1 - x0, y1 - y0];
  if (width === image.width && height === image.height) return image;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((y0 + y) * image.width + x0) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { data, width, height };
}

/** A mask of a crop at its place in the image. */
function uncropMask(mask: BinaryMask, [x0, y0]: Box, image: RgbImage): BinaryMask {
  const { width, height } = image;
  if (mask.width === width && mask.height === height) return mask;
  const data = new Uint8Array(width * height);
  for (let y = 0; y < mask.height; y++) {
    const row = mask.data.subarray(y * mask.width, (y + 1) * mask.width);
    data.set(row, (y0 + y) * width + x0);
  }
  return { data, width, height };
}
