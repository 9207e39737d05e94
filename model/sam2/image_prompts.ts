/** Prompts of the image predictor. */
import { type Tensor, tensor } from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";

/** Labels of the two corners of a box among points. */
const [TOP_LEFT, BOTTOM_RIGHT] = [2, 3];

/** Labels that the prompt encoder has a meaning for. */
const LABELS = [-1, 0, 1, TOP_LEFT, BOTTOM_RIGHT];

/** (x, y) in pixels of the image. */
export type Point = readonly [x: number, y: number];

/** What marks one object. */
export interface ObjectPrompt {
  /** Clicks on and off the object. */
  readonly points?: readonly Point[];
  /**
   * One per point: 1 on the object, 0 off it, 2 and 3 at the first and the second corner of a box, -1
   * for a point that only fills a list up to the length of the others.
   */
  readonly labels?: readonly number[];
  /** (x0, y0, x1, y1) in pixels of the image; its corners come before all points. */
  readonly box?: readonly [x0: number, y0: number, x1: number, y1: number];
  /** Logits of an earlier prediction, [R / 4, R / 4]. */
  readonly maskLogits?: Float32Array;
}

/** A prompt that does not change with the arrays that it was made of. */
export const copyPrompt = ({ points, labels, box, maskLogits }: ObjectPrompt): ObjectPrompt => ({
  ...points && { points: points.map(([x, y]) => [x, y] as const) },
  ...labels && { labels: [...labels] },
  ...box && { box: [box[0], box[1], box[2], box[3]] as const },
  ...maskLogits && { maskLogits: maskLogits.slice() },
});

/** Prompts as tensors, in pixels of the model input. */
export interface TensorPrompts {
  /** [N, P, 2] */
  readonly coords?: Tensor | undefined;
  /** [N, P], as in the prompt encoder. */
  readonly labels?: Tensor | undefined;
  /** [N, 1, R / 4, R / 4] */
  readonly masks?: Tensor | undefined;
}

/** Sizes that prompts depend on. */
export interface PromptSizes {
  /** What an x coordinate of the right edge is. */
  readonly width: number;
  /** What a y coordinate of the lower edge is. */
  readonly height: number;
  /** Side of the model input. */
  readonly imageSize: number;
  /** Side of mask prompts. */
  readonly maskSize: number;
}

interface LabelledPoint {
  readonly at: Point;
  readonly label: number;
}

/** The corners of the box, then the points. */
function promptPoints({ points = [], labels = [], box }: ObjectPrompt): LabelledPoint[] {
  if (points.length !== labels.length) {
    throw new UserError(`There are ${points.length} points but ${labels.length} labels.`);
  }
  const unknown = labels.find((label) => !LABELS.includes(label));
  if (unknown !== undefined) {
    throw new UserError(
      `Point labels are 1 (on the object), 0 (off it), 2 and 3 (corners of a box) or -1 (no point), ` +
        `not ${unknown}.`,
    );
  }
  const corners: LabelledPoint[] = box
    ? [
      { at: [box[0], box[1]], label: TOP_LEFT },
      { at: [box[2], box[3]], label: BOTTOM_RIGHT },
    ]
    : [];
  const all = [...corners, ...points.map((at, i) => ({ at, label: labels[i] }))];
  const wrong = all.find(({ at }) => !at.every(Number.isFinite));
  if (wrong) throw new UserError(`The coordinates ${wrong.at.join(", ")} are not finite numbers.`);
  return all;
}

/** The mask prompts as [N, 1, R / 4, R / 4], where there are any. */
function maskTensor(prompts: readonly ObjectPrompt[], side: number): Tensor | undefined {
  const given = prompts.flatMap(({ maskLogits }) => maskLogits ? [maskLogits] : []);
  if (given.length === 0) return undefined;
  if (given.length !== prompts.length || given.some((mask) => mask.length !== side * side)) {
    throw new UserError(`Either all or no objects need mask logits, ${side} x ${side} each.`);
  }
  const all = new Float32Array(given.length * side * side);
  given.forEach((mask, i) => all.set(mask, i * side * side));
  return tensor(all, [given.length, 1, side, side]);
}

/**
 * Prompts of N objects as tensors: boxes become two points before the others, coordinates become pixels
 * of the model input.
 *
 * @throws {UserError} for no prompts, empty ones, unknown labels, and prompts that differ in kind.
 */
export function promptTensors(
  prompts: readonly ObjectPrompt[],
  { width, height, imageSize, maskSize }: PromptSizes,
): TensorPrompts {
  if (prompts.length === 0) throw new UserError("There is no object to predict: give a prompt.");
  const rows = prompts.map((prompt) => promptPoints(prompt));
  const [batch, count] = [prompts.length, rows[0].length];
  if (rows.some((row) => row.length !== count)) {
    throw new UserError("Objects of one call need the same number of points and boxes.");
  }
  const masks = maskTensor(prompts, maskSize);
  if (count === 0) {
    if (!masks) throw new UserError("A prompt needs points, a box or the logits of a mask.");
    return { masks };
  }
  const all = rows.flat();
  const coords = all.flatMap(({ at: [x, y] }) => [x / width * imageSize, y / height * imageSize]);
  return {
    coords: tensor(coords, [batch, count, 2]),
    labels: tensor(all.map(({ label }) => label), [batch, count]),
    masks,
  };
}
