/** Prompts of `deno task track`: FRAME:OBJ:KIND:VALUE. */
import { InvalidArgumentError } from "commander";
import { UserError } from "../../engine/errors.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import { readMask } from "../images/decode.ts";
import type { NamedFrames } from "../frames/named_frames.ts";
import { type Click, type Marks, parseBox, parseClick, requireInside } from "./prompt_text.ts";
import type { Box } from "../../model/predictors/boxes.ts";

/** One `--prompt`. */
export interface TrackPrompt {
  /** Number of the frame, from 0 on. */
  readonly frame: number;
  /** Number of the object. */
  readonly object: number;
  /** A click, a box, or the path of a mask. */
  readonly mark: { readonly click: Click } | { readonly box: Box } | { readonly mask: string };
}

/** All that marks one object in one frame. */
export type FramePrompt = {
  readonly frame: number;
  readonly object: number;
} & (Marks | { readonly mask: BinaryMask });

const FORM = /^(\d+):(\d+):(point|box|mask):(.+)$/s;

/** Parser of FRAME:OBJ:point:x,y[,label], FRAME:OBJ:box:x0,y0,x1,y1 and FRAME:OBJ:mask:FILE. */
export function parseTrackPrompt(text: string): TrackPrompt {
  const [, frame, object, kind, value] = FORM.exec(text) ?? [];
  const place = { frame: Number(frame), object: Number(object) };
  if (kind === undefined || !Object.values(place).every(Number.isSafeInteger)) {
    throw new InvalidArgumentError(
      "It must be FRAME:OBJ:point:x,y[,label], FRAME:OBJ:box:x0,y0,x1,y1 or FRAME:OBJ:mask:FILE.",
    );
  }
  if (kind === "point") return { ...place, mark: { click: parseClick(value) } };
  return { ...place, mark: kind === "box" ? { box: parseBox(value) } : { mask: value } };
}

/** The prompts of one object in one frame. */
interface Group {
  readonly frame: number;
  readonly object: number;
  readonly clicks: Click[];
  readonly boxes: Box[];
  readonly masks: string[];
}

/**
 * Joins the prompts of each object in each frame, and reads the masks. Objects come in the order in
 * which they were named, frames of an object in order.
 *
 * @throws {UserError} where a frame is absent, a mark lies outside, a mask cannot be read or has another
 * size, or prompts exclude each other.
 */
export async function joinPrompts(
  prompts: readonly TrackPrompt[],
  frames: Pick<NamedFrames, "count" | "width" | "height">,
): Promise<FramePrompt[]> {
  const groups: Group[] = [];
  for (const { frame, object, mark } of prompts) {
    let group = groups.find((g) => g.frame === frame && g.object === object);
    if (!group) groups.push(group = { frame, object, clicks: [], boxes: [], masks: [] });
    if ("click" in mark) group.clicks.push(mark.click);
    else if ("box" in mark) group.boxes.push(mark.box);
    else group.masks.push(mark.mask);
  }
  const order = [...new Set(prompts.map(({ object }) => object))];
  groups.sort((a, b) => order.indexOf(a.object) - order.indexOf(b.object) || a.frame - b.frame);
  const joined: FramePrompt[] = [];
  for (const group of groups) joined.push(await join(group, frames));
  return joined;
}

async function join(
  { frame, object, clicks, boxes, masks }: Group,
  { count, width, height }: Pick<NamedFrames, "count" | "width" | "height">,
): Promise<FramePrompt> {
  const what = `frame ${frame}`;
  if (frame >= count) {
    throw new UserError(`There is no ${what}: the frames are 0 to ${count - 1}.`);
  }
  if (
    boxes.length > 1 || masks.length > 1 || (masks.length > 0 && clicks.length + boxes.length > 0)
  ) {
    throw new UserError(
      `Object ${object} in ${what} may have points and one box, or one mask, but not both.`,
    );
  }
  const place = { frame, object };
  if (masks.length > 0) {
    return { ...place, mask: await readMaskOf(masks[0], { width, height }, what) };
  }
  const [box] = boxes;
  const marks = { clicks, ...(box && { box }) };
  requireInside(marks, { width, height }, what);
  return { ...place, ...marks };
}

/**
 * Reads a mask that must have the size of its image.
 *
 * @param what names the image, as in "frame 3".
 * @throws {UserError} where it cannot be read, is empty, or has another size.
 */
export async function readMaskOf(
  path: string,
  { width, height }: Pick<NamedFrames, "width" | "height">,
  what: string,
): Promise<BinaryMask> {
  const mask = await readMask(path);
  if (mask.width === width && mask.height === height) return mask;
  throw new UserError(
    `The mask ${path} has ${mask.width} x ${mask.height} pixels, but ${what} has ` +
      `${width} x ${height}.`,
  );
}
