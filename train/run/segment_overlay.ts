/** The picture of what `deno task segment` found. */
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { Canvas, objectColour, type ShownSize } from "../images/canvas.ts";
import { montage, type Picture } from "../images/picture.ts";
import type { FoundMask } from "./segment_masks.ts";
import type { Marks } from "./prompt_text.ts";

/** A picture alone, and one of several. */
const [ALONE, BESIDE_OTHERS]: ShownSize[] = [{ least: 480, most: 1600 }, { least: 320, most: 800 }];

/** What was asked for. */
export interface ShownMarks extends Pick<Marks, "clicks"> {
  readonly boxes: readonly NonNullable<Marks["box"]>[];
}

/**
 * The image with the best mask of each object and the prompts drawn over it; one panel for each of
 * several masks of a single object.
 */
export function segmentOverlay(
  image: RgbImage,
  masks: readonly FoundMask[],
  marks: ShownMarks,
): Picture {
  const single = masks.length > 1 && masks.every(({ object }) => object === 1);
  if (!single) return draw(image, bestOfEach(masks), marks, ALONE);
  const panels = masks.map((found, i) => {
    const caption = `${i + 1}: ${found.predictedIou.toFixed(2)}`;
    return draw(image, [found], marks, BESIDE_OTHERS, caption);
  });
  return montage(panels, { columns: panels.length, gap: 4 });
}

/** The first mask of each object. */
export function bestOfEach(masks: readonly FoundMask[]): FoundMask[] {
  return masks.filter(({ object }, i) => i === 0 || masks[i - 1].object !== object);
}

/** Large masks first, so that they do not hide small ones. */
export function drawingOrder(masks: readonly FoundMask[]): FoundMask[] {
  const sized = masks.map((found) => {
    const pixels = found.mask.data.reduce((sum, value) => sum + value, 0);
    return { found, pixels };
  });
  return sized.sort((a, b) => b.pixels - a.pixels).map(({ found }) => found);
}

function draw(
  image: RgbImage,
  masks: readonly FoundMask[],
  { clicks, boxes }: ShownMarks,
  size: ShownSize,
  caption?: string,
): Picture {
  const canvas = new Canvas(image, size);
  for (const { object, mask } of drawingOrder(masks)) canvas.mask(mask, objectColour(object - 1));
  boxes.forEach((box, i) => canvas.box(box, objectColour(i)));
  for (const { at, label } of clicks) canvas.point(at, label === 1);
  if (caption !== undefined) canvas.caption(caption);
  return canvas.picture;
}
