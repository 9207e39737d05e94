/** Prompts as they are written on the command line. */
import { InvalidArgumentError } from "commander";
import { UserError } from "../../engine/errors.ts";
import type { Box } from "../../model/predictors/boxes.ts";
import type { Point } from "../../model/sam2/image_prompts.ts";
import type { ImageSize } from "../images/decode.ts";

/** A click. */
export interface Click {
  readonly at: Point;
  /** 1 on the object, 0 off it. */
  readonly label: 0 | 1;
}

/** Clicks and a box on one object. */
export interface Marks {
  readonly clicks: readonly Click[];
  readonly box?: Box;
}

/** Numbers between commas; not a number where a part is none. */
function numbers(text: string): number[] {
  return text.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
}

/** Parser of "x,y" or "x,y,label". */
export function parseClick(text: string): Click {
  const [x, y, label = 1, ...more] = numbers(text);
  if (![x, y].every(Number.isFinite) || (label !== 0 && label !== 1) || more.length > 0) {
    throw new InvalidArgumentError(
      "It must be x,y or x,y,label in pixels, with label 1 on the object or 0 off it.",
    );
  }
  return { at: [x, y], label };
}

/** Parser of "x0,y0,x1,y1". */
export function parseBox(text: string): Box {
  const [x0, y0, x1, y1, ...more] = numbers(text);
  if (![x0, y0, x1, y1].every(Number.isFinite) || more.length > 0) {
    throw new InvalidArgumentError("It must be x0,y0,x1,y1 in pixels.");
  }
  if (x0 >= x1 || y0 >= y1) {
    throw new InvalidArgumentError(
      "Its left upper corner x0,y0 must lie left of and above its right lower corner x1,y1.",
    );
  }
  return [x0, y0, x1, y1];
}

/** Turns a parser of one value into one of an option that may be given several times. */
export function repeated<T>(parse: (text: string) => T) {
  return (text: string, before: readonly T[] = []): readonly T[] => [...before, parse(text)];
}

/** Parser of two numbers in order, as in "-160,240". */
export function parseRange(text: string): [low: number, high: number] {
  const [low, high, ...more] = numbers(text);
  if (![low, high].every(Number.isFinite) || low >= high || more.length > 0) {
    throw new InvalidArgumentError("It must be two intensities in order, as in -160,240.");
  }
  return [low, high];
}

/**
 * Checks that marks lie inside an image.
 *
 * @param what names the image, as in "frame 3".
 * @throws {UserError} naming those outside, and the image's size.
 */
export function requireInside(
  { clicks, box }: Marks,
  { width, height }: ImageSize,
  what: string,
): void {
  const size = `which has ${width} x ${height} pixels`;
  for (const { at: [x, y] } of clicks) {
    if (x >= 0 && y >= 0 && x < width && y < height) continue;
    throw new UserError(`The point ${x},${y} lies outside ${what}, ${size}.`);
  }
  if (!box) return;
  const [x0, y0, x1, y1] = box;
  if (x0 >= 0 && y0 >= 0 && x1 <= width && y1 <= height) return;
  throw new UserError(`The box ${box.join(",")} reaches beyond ${what}, ${size}.`);
}
