/** Tracks frame by frame, and writes each as soon as it is done. */
import { insideOf } from "../../model/predictors/binary_mask.ts";
import type { FrameMasks } from "../../model/predictors/video_options.ts";
import type { VideoPredictor } from "../../model/predictors/video_predictor.ts";
import { labelSlice } from "../../model/predictors/volume_labels.ts";
import type { NamedFrames } from "../frames/named_frames.ts";
import type { OpenedFrames } from "../frames/open.ts";
import { Pace, type ProgressLine } from "./progress.ts";
import type { MaskEntry, ResultFolder } from "./result_folder.ts";
import type { StopRequest } from "./signals.ts";
import type { TrackFlags } from "./track_options.ts";
import type { FramePrompt } from "./track_prompts.ts";

/** An object in a frame, as the JSON file lists it. */
export interface TrackEntry extends MaskEntry {
  readonly object: number;
  /** Logit of the object being in the frame. */
  readonly object_score: number;
}

/** A frame, as the JSON file lists it. */
export interface FrameEntry {
  readonly frame: number;
  readonly name: string;
  readonly objects: readonly TrackEntry[];
}

/** What a track works with. */
export interface Scene {
  readonly flags: TrackFlags;
  readonly opened: OpenedFrames;
  readonly prompts: readonly FramePrompt[];
  readonly folder: ResultFolder;
  readonly progress: ProgressLine;
  readonly stop: StopRequest;
}

/** What is there so far. */
export class TrackResults {
  /** Frames in the order in which they were tracked. */
  readonly entries: FrameEntry[] = [];
  /** Labels, where the frames are slices of a scan. */
  readonly labels: Uint8Array | undefined;
  /** Time of the frames. */
  readonly pace = new Pace();

  /** No result yet. */
  constructor({ opened }: Pick<Scene, "opened">) {
    this.labels = opened.kind === "scan" ? new Uint8Array(opened.frames.voxels) : undefined;
  }
}

/**
 * Gives the prompts to a predictor and tracks.
 *
 * @param results what is done is added to it.
 * @returns false where a stop was requested before the last frame.
 */
export async function trackFrames(
  scene: Scene,
  predictor: VideoPredictor,
  results: TrackResults,
): Promise<boolean> {
  const { flags, opened: { frames }, prompts, progress, stop } = scene;
  for (const [i, prompt] of prompts.entries()) {
    if (stop.requested) return false;
    progress.update(`prompt ${i + 1}/${prompts.length}`);
    await give(predictor, prompt);
  }
  const legs = planLegs(flags, prompts, frames.count);
  const total = legs.reduce((sum, { count }) => sum + count, 0);
  const done = new Set<number>();
  let since = performance.now();
  for (const { start, maxFrames, reverse } of legs.filter(({ count }) => count > 0)) {
    for await (const masks of predictor.propagate({ start, maxFrames, reverse })) {
      // Backwards, the first frame is one that the way forwards has had.
      if (done.has(masks.frame)) continue;
      done.add(masks.frame);
      await keep(scene, results, masks);
      results.pace.add(performance.now() - since, masks.objectIds.length);
      since = performance.now();
      progress.update(status(frames.nameOf(masks.frame), done.size, total, results.pace));
      if (stop.requested && done.size < total) return false;
    }
  }
  return true;
}

function status(name: string, done: number, total: number, pace: Pace): string {
  const seconds = (pace.stepTime / 1000).toFixed(2);
  return `frame ${name}, ${done}/${total}, ${seconds} s each, ${pace.eta(total - done)} left`;
}

async function give(predictor: VideoPredictor, prompt: FramePrompt): Promise<void> {
  const { frame, object } = prompt;
  if ("mask" in prompt) {
    await predictor.addMask(frame, object, prompt.mask);
    return;
  }
  const { clicks, box } = prompt;
  await predictor.addPointsOrBox(frame, object, {
    points: clicks.map(({ at }) => at),
    labels: clicks.map(({ label }) => label),
    ...(box && { box }),
  });
}

/** A propagation, and how many frames it adds. */
interface Leg {
  readonly start: number;
  readonly maxFrames: number | undefined;
  readonly reverse: boolean;
  readonly count: number;
}

/** The propagations that the options ask for. */
function planLegs(
  { direction, startFrame, maxFrames }: TrackFlags,
  prompts: readonly FramePrompt[],
  count: number,
): Leg[] {
  const start = startFrame ?? Math.min(...prompts.map(({ frame }) => frame));
  const reach = maxFrames ?? count;
  const ahead = Math.min(reach, count - 1 - start) + 1;
  const back = Math.min(reach, start);
  const forward = { start, maxFrames, reverse: false, count: ahead };
  const backward = { start, maxFrames, reverse: true };
  if (direction === "forward") return [forward];
  if (direction === "both") return [forward, { ...backward, count: back }];
  // The predictor goes nowhere backwards from frame 0, not even to that frame.
  return start > 0 ? [{ ...backward, count: back + 1 }] : [{ ...forward, maxFrames: 0, count: 1 }];
}

/** Writes the masks of a frame, and its labels. */
async function keep(
  { opened, folder }: Scene,
  { entries, labels }: TrackResults,
  masks: FrameMasks,
): Promise<void> {
  entries.push(await writeFrame(folder, opened.frames, masks));
  if (labels && opened.kind === "scan") {
    labelSlice(labels, opened.frames.layout, masks, masks.objectIds);
  }
}

async function writeFrame(
  folder: ResultFolder,
  frames: NamedFrames,
  { frame, objectIds, objectScores, width, height, logits }: FrameMasks,
): Promise<FrameEntry> {
  const name = frames.nameOf(frame);
  const plane = width * height;
  const objects: TrackEntry[] = [];
  for (const [i, object] of objectIds.entries()) {
    const data = insideOf(logits.subarray(i * plane, (i + 1) * plane));
    const file = `masks/${String(object).padStart(3, "0")}/${name}.png`;
    const entry = await folder.writeMask(file, { data, width, height });
    objects.push({ object, object_score: objectScores[i], ...entry });
  }
  return { frame, name, objects };
}
