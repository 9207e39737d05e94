/** Draws training clips: which frames and objects, and how they are prompted and corrected. */
import { randomKeyData, tensor } from "../../engine/mod.ts";
import { transformImage } from "../../model/sam2/image_transform.ts";
import { DataError } from "../data/errors.ts";
import type { Random } from "../data/random.ts";
import { resizeNearest } from "../data/resize.ts";
import type { SegmentedFrame, SegmentedSequence } from "../data/sequence.ts";
import type { ClipLeaves, ClipPlan, FirstPrompt } from "./clip.ts";

/** Choices of the official training: probabilities and largest numbers of frames. */
const MASK_PROMPT = 0.5;
const BOX_PROMPT = 0.5;
const CLICK_ANYWHERE = 0.1;
const MAX_PROMPTED = 2;
const MAX_CORRECTED = 2;
const REVERSED = 0.5;

/** Clips without an object that are drawn before the data are given up. */
const ATTEMPTS = 200;

/** How clips are drawn. */
export interface ClipOptions {
  /** Side of the model's input. */
  readonly size: number;
  /** Frames of a clip, fewer where sequences are shorter. */
  readonly frames: number;
  /** Objects of an image at most. */
  readonly objects: number;
  /** Correcting clicks of a corrected frame. */
  readonly clicks: number;
  /** Clips of a step. */
  readonly batch: number;
}

/** Frames with the objects that are followed. */
export interface Clip {
  readonly frames: readonly SegmentedFrame[];
  /** Labels, all of them in the first frame. */
  readonly objects: readonly number[];
}

/** How the frames of a clip are prompted and corrected. A single image is always clicked or boxed. */
export function drawPlan(random: Random, frames: number, clicks: number): ClipPlan {
  const byMask = frames > 1 && random.uniform() < MASK_PROMPT;
  const most = Math.min(MAX_PROMPTED, byMask ? frames - 1 : frames);
  const prompted = 1 + random.integer(most);
  const later = random.shuffled(Array.from({ length: frames - 1 }, (_, i) => i + 1));
  const first = [0, ...later.splice(0, prompted - 1)];
  const kind = (): FirstPrompt => byMask ? "mask" : random.uniform() < BOX_PROMPT ? "box" : "click";
  const prompts = new Map(first.map((t) => [t, kind()]));
  if (byMask) return { prompts, corrected: [], clicks: 0 };
  const mostCorrected = Math.min(MAX_CORRECTED, frames);
  const more = prompted < mostCorrected ? random.integer(mostCorrected - prompted + 1) : 0;
  return { prompts, corrected: [...first, ...later.slice(0, more)], clicks };
}

/**
 * Reads the clip that begins at a place in the data, or at another one where no object is there.
 *
 * @param item number of the place: frames are counted through all sequences.
 * @throws {DataError} where no object is found in many places.
 */
export async function drawClip(
  random: Random,
  sequences: readonly SegmentedSequence[],
  item: number,
  options: Pick<ClipOptions, "frames" | "objects">,
): Promise<Clip> {
  const total = frameCount(sequences);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const [sequence, start] = locate(sequences, attempt === 0 ? item : random.integer(total));
    const length = Math.min(options.frames, sequence.count);
    const backwards = length > 1 && random.uniform() < REVERSED;
    const indices = span(sequence.count, start, length, backwards);
    const first = await sequence.read(indices[0]);
    const present = [...new Set(Array.from(first.labels))].filter((label) => label > 0);
    if (present.length === 0) continue;
    const objects = random.shuffled(present).slice(0, options.objects);
    const frames = [first];
    for (const index of indices.slice(1)) frames.push(await sequence.read(index));
    return { frames, objects };
  }
  throw new DataError(`None of ${ATTEMPTS} frames of the data has an object in its labels.`);
}

/** Frames of all sequences together. */
export function frameCount(sequences: readonly SegmentedSequence[]): number {
  return sequences.reduce((sum, { count }) => sum + count, 0);
}

function locate(sequences: readonly SegmentedSequence[], item: number) {
  let rest = item;
  for (const sequence of sequences) {
    if (rest < sequence.count) return [sequence, rest] as const;
    rest -= sequence.count;
  }
  throw new RangeError(`There is no frame ${item}.`);
}

/** Consecutive frames that contain `start` as near to their first as fits. */
function span(count: number, start: number, length: number, backwards: boolean): number[] {
  const low = backwards ? Math.max(0, start - length + 1) : Math.min(start, count - length);
  const indices = Array.from({ length }, (_, i) => low + i);
  return backwards ? indices.reverse() : indices;
}

/** Clips of one length as leaves of a training graph. */
export function clipLeaves(
  random: Random,
  clips: readonly Clip[],
  { size, clicks }: Pick<ClipOptions, "size" | "clicks">,
): ClipLeaves {
  const length = clips[0].frames.length;
  const times = Array.from({ length }, (_, t) => t);
  const owners = clips.flatMap(({ objects }, i) => objects.map(() => i));
  const noise = (count: number, draw: () => number) => Float32Array.from({ length: count }, draw);
  return {
    images: times.map((t) => imageBatch(clips.map(({ frames }) => frames[t]), size)),
    owners: clips.length > 1 ? tensor(Uint32Array.from(owners), [owners.length]) : undefined,
    targets: times.map((t) => targetBatch(clips, t, size)),
    boxShifts: tensor(
      noise(length * owners.length * 4, () => random.uniform(-1, 1)),
      [length, owners.length, 4],
    ),
    anywhere: tensor(
      noise(length * Math.max(1, clicks), () => Number(random.uniform() < CLICK_ANYWHERE)),
      [length, Math.max(1, clicks)],
    ),
    key: tensor(randomKeyData(random.next()), [2]),
  };
}

function imageBatch(frames: readonly SegmentedFrame[], size: number) {
  const one = 3 * size * size;
  const data = new Float32Array(frames.length * one);
  frames.forEach(({ image }, i) => {
    data.set(transformImage(image, size).host as Float32Array, i * one);
  });
  return tensor(data, [frames.length, 3, size, size]);
}

function targetBatch(clips: readonly Clip[], t: number, size: number) {
  const masks = clips.flatMap(({ frames, objects }) => {
    const { labels, image: { height, width } } = frames[t];
    return objects.map((object) => {
      const mask = Float32Array.from(labels, (label) => Number(label === object));
      return resizeNearest(mask, [1, height, width], [size, size]);
    });
  });
  const data = new Float32Array(masks.length * size * size);
  masks.forEach((mask, i) => data.set(mask, i * size * size));
  return tensor(data, [masks.length, 1, size, size]);
}
