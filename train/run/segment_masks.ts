/** The masks of `deno task segment`. */
import { insideOf } from "../../model/predictors/binary_mask.ts";
import { AutomaticMaskGenerator } from "../../model/predictors/mask_generator.ts";
import type { MaskRecord } from "../../model/predictors/mask_options.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import { resizePlane } from "../../model/sam2/host_resize.ts";
import { ImagePredictor, type Prediction } from "../../model/sam2/image_predictor.ts";
import type { ObjectPrompt } from "../../model/sam2/image_prompts.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import type { Sam2 } from "../../model/sam2/sam2.ts";
import { gpuIdle } from "./device_info.ts";
import { autoOptions, type SegmentFlags } from "./segment_options.ts";

/** A mask with what the model says of it. */
export interface FoundMask {
  /** Number of the object, from 1 on. */
  readonly object: number;
  /** The mask at the size of the image. */
  readonly mask: BinaryMask;
  /** The model's own prediction of the overlap with the true mask. */
  readonly predictedIou: number;
  /** What the mask generator knows besides. */
  readonly record?: Omit<MaskRecord, "segmentation" | "area" | "bbox" | "predictedIou">;
}

/** What was found, and the seconds that it took. */
export interface Found {
  /** Objects in order; masks of one object best first. */
  readonly masks: readonly FoundMask[];
  readonly seconds: { readonly encode?: number; readonly masks: number };
}

/** Tells how far the work is. */
export type Tell = (text: string) => void;

/** Prompts and options that are ready for the model. */
export interface SegmentWork {
  readonly model: Sam2;
  readonly image: RgbImage;
  readonly flags: SegmentFlags;
  /** About where the object is, at the size of the image. */
  readonly mask?: BinaryMask;
}

/** Finds the masks that the options ask for. */
export async function findMasks(work: SegmentWork, tell: Tell): Promise<Found> {
  return work.flags.auto ? await everything(work, tell) : await prompted(work, tell);
}

async function everything({ model, image, flags }: SegmentWork, tell: Tell): Promise<Found> {
  const started = performance.now();
  const { multimask = true, precision = "f32" } = flags;
  const generator = new AutomaticMaskGenerator(model, {
    ...autoOptions(flags),
    multimaskOutput: multimask,
    precision,
  });
  let [points, kept] = [0, 0];
  const grid = generator.pointGrids.reduce((sum, { length }, i) => sum + 4 ** i * length, 0);
  tell(`encoding ${flags.input}`);
  const records = await generator.generate(image, {
    onBatch: (batch) => {
      points += batch.points;
      kept += batch.afterEdge;
      tell(`${points}/${grid} points, ${kept} masks so far`);
    },
  });
  const masks = records.map((found, i): FoundMask => {
    const { segmentation, predictedIou, area: _area, bbox: _bbox, ...record } = found;
    return { object: i + 1, mask: segmentation as BinaryMask, predictedIou, record };
  });
  return { masks, seconds: { masks: (performance.now() - started) / 1000 } };
}

async function prompted({ model, image, flags, mask }: SegmentWork, tell: Tell): Promise<Found> {
  const { precision = "f32", maskThreshold = 0, maxHoleArea = 0, maxSprinkleArea = 0 } = flags;
  const options = { precision, maskThreshold, maxHoleArea, maxSprinkleArea };
  const predictor = new ImagePredictor(model, options);
  const started = performance.now();
  tell(`encoding ${flags.input}`);
  await predictor.setImage(image);
  // Only for the sake of the times: predictions would wait by themselves.
  await gpuIdle();
  const encoded = performance.now();
  const prompts = objectPrompts(
    flags,
    mask && promptLogits(mask, model.sam_prompt_encoder.maskSize),
  );
  // One click is ambiguous: it may mean a part or the whole.
  const [{ points = [], box, maskLogits }] = prompts;
  const multimask = flags.multimask ?? (points.length === 1 && !box && !maskLogits);
  tell("predicting masks");
  const prediction = await predictor.predict(prompts, { multimask });
  await predictor.reset();
  const masks = ranked(prediction, image, maskThreshold);
  const seconds = (since: number, until: number) => (until - since) / 1000;
  return {
    masks,
    seconds: { encode: seconds(started, encoded), masks: seconds(encoded, performance.now()) },
  };
}

/** One object for each of several boxes, else one of all prompts. */
function objectPrompts(
  { point = [], box = [] }: SegmentFlags,
  maskLogits: Float32Array | undefined,
): ObjectPrompt[] {
  if (box.length > 1) return box.map((one) => ({ box: one }));
  return [{
    points: point.map(({ at }) => at),
    labels: point.map(({ label }) => label),
    ...(box.length === 1 && { box: box[0] }),
    ...(maskLogits && { maskLogits }),
  }];
}

/** Logits outside and inside a mask prompt: those that the official code gives to mask prompts. */
const [OUTSIDE, INSIDE] = [-10, 10];

/** A mask as logits [side, side], with borders softened by the resize. */
function promptLogits({ data, width, height }: BinaryMask, side: number): Float32Array {
  const plane = { data, offset: 0, step: 1, height, width };
  const share = resizePlane(plane, [side, side], true);
  return Float32Array.from(share, (inside) => OUTSIDE + inside * (INSIDE - OUTSIDE));
}

/** The masks of a prediction: objects in order, of each object the best mask first. */
function ranked(
  { maskLogits, ious, masksPerObject }: Prediction,
  { width, height }: RgbImage,
  threshold: number,
): FoundMask[] {
  const plane = width * height;
  const masks = Array.from(ious, (predictedIou, i): FoundMask => {
    const data = insideOf(maskLogits.subarray(i * plane, (i + 1) * plane), threshold);
    const object = Math.floor(i / masksPerObject) + 1;
    return { object, mask: { data, width, height }, predictedIou };
  });
  return masks.sort((a, b) => a.object - b.object || b.predictedIou - a.predictedIou);
}
