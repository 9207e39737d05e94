/** Checks prompts and brings them into the form that the model takes. */
import { ge, interpolate, type Tensor, tensor } from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import type { Clicks } from "./object_state.ts";
import type { BinaryMask, PointsPrompt } from "./video_options.ts";

/** Labels of the two corners of a box among points. */
const [TOP_LEFT, BOTTOM_RIGHT] = [2, 3];

/** Share of a pixel from which a resized mask counts as inside. */
const HALF = 0.5;

/**
 * Clicks in pixels of the model input, the corners of a box first.
 *
 * @param size of the video, and side of the model input.
 * @throws {UserError} for an empty prompt, labels that do not fit, coordinates that are no numbers.
 */
export function clicksOf(
  { points = [], labels = [], box, normalized = false, clearOldPoints = true }: PointsPrompt,
  size: { readonly width: number; readonly height: number; readonly imageSize: number },
): Clicks {
  if (points.length !== labels.length) {
    throw new UserError(`There are ${points.length} points but ${labels.length} labels.`);
  }
  if (points.length === 0 && !box) throw new UserError("A prompt needs points or a box.");
  if (box && !clearOldPoints) {
    throw new UserError("A box comes before all points: it cannot be added to earlier ones.");
  }
  const wrong = labels.find((label) => label !== 0 && label !== 1);
  if (wrong !== undefined) {
    throw new UserError(`Point labels are 1 (on the object) or 0 (off it), not ${wrong}.`);
  }
  const pixels = [...(box ?? []), ...points.flat()];
  if (!pixels.every(Number.isFinite)) {
    throw new UserError(`The coordinates ${pixels.join(", ")} are not all finite numbers.`);
  }
  const { imageSize } = size;
  const extent = normalized ? [1, 1] : [size.width, size.height];
  return {
    coords: pixels.map((value, i) => value / extent[i % 2] * imageSize),
    labels: [...(box ? [TOP_LEFT, BOTTOM_RIGHT] : []), ...labels],
  };
}

/** Clicks after earlier ones. */
export function joinClicks(earlier: Clicks | undefined, added: Clicks): Clicks {
  if (!earlier) return added;
  return {
    coords: [...earlier.coords, ...added.coords],
    labels: [...earlier.labels, ...added.labels],
  };
}

/**
 * A binary mask of any size as the mask prompt [1, 1, R, R]: resized with antialias, 1 where at least
 * half of a pixel is inside.
 *
 * @throws {UserError} where the mask is empty or its data do not fit its size.
 */
export function resizeMaskPrompt({ data, width, height }: BinaryMask, imageSize: number): Tensor {
  if (data.length === 0 || data.length !== width * height) {
    throw new UserError(`The mask has ${data.length} pixels, not ${width} x ${height}.`);
  }
  const inside = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) inside[i] = data[i] === 0 ? 0 : 1;
  const mask = tensor(inside, [1, 1, height, width]);
  if (width === imageSize && height === imageSize) return mask;
  const size = [imageSize, imageSize] as const;
  return ge(interpolate(mask, { size, mode: "bilinear", antialias: true }), HALF);
}
