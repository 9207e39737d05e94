/** `deno task track` from its options to its exit code. */
import { UserError } from "../../engine/errors.ts";
import { VideoPredictor } from "../../model/predictors/video_predictor.ts";
import { writeNifti } from "../data/nifti.ts";
import type { NamedFrames } from "../frames/named_frames.ts";
import { type OpenedFrames, openFrames } from "../frames/open.ts";
import { requirePrecision } from "../precision.ts";
import {
  describeBytes,
  describeDevice,
  type DeviceInfo,
  deviceInfo,
  gpuBytes,
} from "./device_info.ts";
import { type LoadedModel, loadModel, type ModelEntry, modelEntry } from "./model_options.ts";
import { ProgressLine, standardError, type Terminal } from "./progress.ts";
import { counted, LABELS, ResultFolder } from "./result_folder.ts";
import { requireNoScanFlags, scanOptions } from "./scan_options.ts";
import { INTERRUPTED, type StopRequest, watchSignals } from "./signals.ts";
import { type FrameEntry, type Scene, trackFrames, TrackResults } from "./track_frames.ts";
import { type TrackFlags, videoOptions } from "./track_options.ts";
import { writeOverlay } from "./track_overlay.ts";
import { type FramePrompt, joinPrompts } from "./track_prompts.ts";

/** The content of the JSON file. */
interface Index {
  readonly input: string;
  readonly width: number;
  readonly height: number;
  /** Frames of the video. */
  readonly frames: number;
  readonly model: ModelEntry;
  readonly device: DeviceInfo & { readonly gpu_bytes: number };
  /** The median. */
  readonly seconds_per_frame: number;
  /** False where a signal or an error ended the work. */
  readonly complete: boolean;
  readonly objects: readonly number[];
  readonly labels?: { readonly file: string };
  readonly overlay?: { readonly file: string };
  readonly results: readonly FrameEntry[];
}

/**
 * Tracks objects through a video or a scan. A signal ends it after the frame in progress; what is
 * written then stays.
 *
 * @returns the exit code: 0, or 130 where a signal came.
 * @throws {UserError} where an option, the input or the checkpoint is wrong.
 */
export async function runTracking(
  flags: TrackFlags,
  terminal: Terminal = standardError(),
): Promise<number> {
  using stop = await watchSignals(
    "Stopping: the frame in progress is finished and written first; a second signal ends at once.",
  );
  using progress = new ProgressLine(terminal);
  if (flags.deviceInfo) progress.say(describeDevice(await deviceInfo()));
  await requirePrecision(flags.precision);
  const opened = await openFrames(flags.input, {
    ...scanOptions(flags),
    ffmpeg: flags.ffmpeg,
    onCount: (count) => progress.update(`counting frames: ${count}`),
  });
  await using _frames = opened.frames;
  const scene = await prepare(flags, opened, progress, stop);
  await using _folder = scene.folder;
  const index = await track(scene);
  if (!index.complete) {
    progress.say(
      `Stopped after ${index.results.length} of ${index.frames} frames; their masks are in ` +
        `${flags.out}.`,
    );
    return INTERRUPTED;
  }
  const whole = await addOverlay(scene, index);
  progress[Symbol.dispose]();
  console.log(flags.json ? JSON.stringify(whole, null, 1) : summary(flags, whole));
  return stop.requested ? INTERRUPTED : 0;
}

/** Checks everything that can be before the model is loaded. */
async function prepare(
  flags: TrackFlags,
  opened: OpenedFrames,
  progress: ProgressLine,
  stop: StopRequest,
): Promise<Scene> {
  if (opened.kind !== "scan") requireNoScanFlags(flags);
  else if (opened.frames.replaced > 0) {
    progress.say(`${opened.frames.replaced} voxels are no finite numbers; they are taken as 0.`);
  }
  const prompts = await joinPrompts(flags.prompt, opened.frames);
  if (opened.kind === "scan") requireLabels(prompts);
  requireStart(flags, opened.frames);
  const folder = await ResultFolder.open(flags.out, "track", flags.input);
  return { flags, opened, prompts, folder, progress, stop };
}

/** Tracks, and writes the labels of a scan and the JSON file, also where an error ends it. */
async function track(scene: Scene): Promise<Index> {
  const { flags, opened: { frames }, folder, progress } = scene;
  progress.update("loading the model");
  const loaded = await loadModel(flags, true);
  for (const note of loaded.notes) progress.say(note);
  await folder.clear();
  const predictor = new VideoPredictor(loaded.model, frames, videoOptions(flags));
  const results = new TrackResults(scene);
  try {
    const complete = await trackFrames(scene, predictor, results);
    return await save(scene, loaded, results, complete);
  } catch (error) {
    if (results.entries.length > 0) await save(scene, loaded, results, false);
    throw error;
  } finally {
    await predictor.close();
  }
}

async function save(
  { flags, opened, prompts, folder }: Scene,
  loaded: LoadedModel,
  { entries, labels, pace }: TrackResults,
  complete: boolean,
): Promise<Index> {
  if (opened.kind === "scan" && labels) {
    await writeNifti(`${folder.path}/${LABELS}`, labels, opened.frames.header);
  }
  const { width, height, count } = opened.frames;
  const index: Index = {
    input: flags.input,
    width,
    height,
    frames: count,
    model: modelEntry(loaded, flags),
    device: { ...await deviceInfo(), gpu_bytes: await gpuBytes() },
    seconds_per_frame: Number((pace.stepTime / 1000).toFixed(3)),
    complete,
    objects: [...new Set(prompts.map(({ object }) => object))],
    ...(labels && { labels: { file: LABELS } }),
    results: entries.toSorted((a, b) => a.frame - b.frame),
  };
  await folder.writeIndex(index);
  return index;
}

/** Makes the overlay; a signal leaves it out. */
async function addOverlay(
  { flags, opened: { frames }, folder, progress, stop }: Scene,
  index: Index,
): Promise<Index> {
  const { objects, results: tracked } = index;
  if (!flags.overlay) return index;
  const extension = await writeOverlay({
    ...{ frames, tracked, objects, stop, ffmpeg: flags.ffmpeg },
    path: `${folder.path}/overlay`,
    fps: flags.fps ?? frames.fps,
    tell: (text) => progress.update(text),
  });
  if (!extension) return index;
  const whole = { ...index, overlay: { file: `overlay.${extension}` } };
  await folder.writeIndex(whole);
  return whole;
}

function summary({ out, deviceInfo: wanted }: TrackFlags, index: Index): string {
  const { objects, results, frames, labels, overlay, device } = index;
  const files = [labels?.file, overlay?.file, "track.json"].filter((file) => file !== undefined);
  const memory = wanted ? `, ${describeBytes(device.gpu_bytes)} of GPU memory` : "";
  const done = `${results.length} of ${frames} frames`;
  return `${out}: masks of ${counted(objects.length, "object")} in ${done}, ` +
    `${files.join(", ")} (${index.seconds_per_frame} s a frame${memory}).`;
}

/** @throws {UserError} where an object's number cannot be a label. */
function requireLabels(prompts: readonly FramePrompt[]): void {
  const wrong = prompts.find(({ object }) => object < 1 || object > 255);
  if (!wrong) return;
  throw new UserError(
    `Object ${wrong.object} cannot be a label of a scan: number the objects from 1 to 255.`,
  );
}

/** @throws {UserError} where the first frame does not exist. */
function requireStart({ startFrame }: TrackFlags, { count }: NamedFrames): void {
  if (startFrame === undefined || startFrame < count) return;
  throw new UserError(`There is no frame ${startFrame}: the frames are 0 to ${count - 1}.`);
}
