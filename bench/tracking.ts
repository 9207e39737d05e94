/** `bench model --tracking`: an image and its prompts, and frames with several tracked objects. */
import { type Runtime, runtime, type Tensor } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import type { FrameSource } from "../model/predictors/frame_source.ts";
import { inBatches } from "../model/predictors/object_batches.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import type { RgbImage } from "../model/sam2/image_transform.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { counted } from "../train/run/result_folder.ts";
import { type Sample, submitted, type Timed, timeInRounds } from "./clock.ts";
import { takeInventory } from "./inventory.ts";
import { CONFIGURATIONS, partsOf, trackedFrame } from "./parts.ts";
import { type Peaks, peakWorks } from "./peak.ts";
import { noise } from "./replay.ts";
import { type Row, timedRow } from "./report.ts";
import { SteadyVideo } from "./steady_video.ts";

/** What to measure. */
export interface TrackingOptions {
  readonly config: string;
  /** Side of the model's input; images have the same. */
  readonly size: number;
  /** Numbers of objects that are tracked together. */
  readonly objects: readonly number[];
  readonly rounds: number;
}

/** More frames than any measurement asks for. */
const ENDLESS = 100_000;

/** Wall time after which slow frames are left out of further rounds. */
const BUDGET_MS = 60_000;

/** A picture that is the same in every run. */
function picture(side: number): RgbImage {
  const data = Uint8Array.from(noise(3 * side * side), (x) => 255 * (x + 0.5));
  return { data, width: side, height: side };
}

/** Places of clicks, spread over the image. */
function click(object: number, count: number, side: number): [number, number] {
  const columns = Math.ceil(Math.sqrt(count));
  const at = (cell: number) => side * (cell + 0.5) / columns;
  return [at(object % columns), at(Math.floor(object / columns))];
}

/** The image of a predictor, and a further click on it. */
function imageWorks(model: Sam2, image: RgbImage) {
  const predictor = new ImagePredictor(model);
  const place = click(0, 1, image.width);
  return {
    encode: submitted(() => predictor.setImage(image)),
    prompt: submitted(() => predictor.predict([{ points: [place], labels: [1] }])),
    free: () => predictor.reset(),
  };
}

/** A video in which objects are tracked frame by frame. */
interface Tracked {
  readonly work: Timed;
  /** Bytes of intermediate values, once a frame has been tracked. */
  arena(): number;
  /** Frees all that it remembers, and tells the bytes of that. */
  close(): Promise<number>;
}

/** Masks of frames that attend to as many memories and object pointers as any later one. */
async function steadyMasks(predictor: SteadyVideo, model: Sam2, count: number, side: number) {
  // Taken back at once. With the prompted frame and at least two that are tracked, as many frames are
  // encoded as a predictor keeps the features of.
  await predictor.addPointsOrBox(1, 0, { points: [click(0, 1, side)], labels: [1] });
  await predictor.removeObject(0);
  for (let object = 0; object < count; object++) {
    const points = [click(object, count, side)];
    await predictor.addPointsOrBox(0, object + 1, { points, labels: [1] });
  }
  await predictor.propagate({ maxFrames: 0 }).next();
  return predictor.propagate({ start: await predictor.fill(model.config) });
}

/** A video that its first run prepares: the arena is then no larger than it needs. */
function tracked(rt: Runtime, model: Sam2, image: RgbImage, count: number): Tracked {
  const { width, height } = image;
  const frames: FrameSource = { count: ENDLESS, width, height, read: () => image };
  const predictor = new SteadyVideo(model, frames);
  let masks: ReturnType<SteadyVideo["propagate"]> | undefined;
  let arena = 0;
  return {
    work: submitted(async () => {
      masks ??= await steadyMasks(predictor, model, count, width);
      await masks.next();
      arena ||= rt.arenaBytes;
    }),
    arena: () => arena,
    close: async () => {
      await masks?.return();
      const before = rt.counters.liveBytes;
      await predictor.close();
      return before - rt.counters.liveBytes;
    },
  };
}

/** Operations of a frame by its plans: that of the image, and those of batches of objects. */
async function frameFlops(config: string, model: Sam2, count: number): Promise<number> {
  const { device: { offsetAlignment } } = await runtime();
  const profile = await activeProfile();
  const flopsOf = (forward: readonly Tensor[]) =>
    takeInventory({ name: "frame", forward, backward: [] }, profile, offsetAlignment).flops;
  const [{ forward }] = partsOf(config, model.config.imageSize, 1, ["encoder"]);
  const batches = await inBatches(Array.from({ length: count }), model.config);
  return batches.reduce(
    (sum, { length }) => sum + flopsOf(trackedFrame(model, length)),
    flopsOf(forward),
  );
}

/** Measured rows and the adapter's peaks. */
export interface TrackingRows {
  readonly rows: readonly Row[];
  readonly peaks: Peaks;
}

/** Times an image and a further prompt, and frames with each number of objects, in the same rounds. */
export async function benchTracking(
  { config, size, objects, rounds }: TrackingOptions,
): Promise<TrackingRows> {
  const rt = await runtime();
  const model = new Sam2({ ...CONFIGURATIONS[config], imageSize: size });
  const weights = await FlatParameters.create(model);
  const image = picture(size);
  const { encode, prompt, free } = imageWorks(model, image);
  // In ascending order: all use one arena, and it grows.
  const counts = objects.toSorted((a, b) => a - b);
  const videos = counts.map((count) => tracked(rt, model, image, count));
  const peak = peakWorks(rt, await activeProfile());
  const works = [...peak.works, encode, prompt, ...videos.map(({ work }) => work)];
  const timed = await timeInRounds(works, { rounds, budgetMs: BUDGET_MS });
  const [math, copy, encoded, prompted, ...frames] = timed.map(({ steady }) => steady);
  const peaks = peak.peaks([math, copy]);
  const memory: Memory[] = [];
  for (const { arena, close } of videos) {
    memory.push({ weights: weights.values.size, arena: arena(), state: await close() });
  }
  await free();
  peak.destroy();
  weights.destroy();
  if (rt.failure) throw rt.failure;
  const flops: number[] = [];
  for (const count of counts) flops.push(await frameFlops(config, model, count));
  const name = (what: string) => ({ group: "model", name: `${config} ${what} ${size} px` });
  const rows = counts.map((count, i): Row => {
    const identity = { ...name("tracking"), shape: counted(count, "object"), pass: "forward" };
    const gflops = flops[i] / frames[i].ms / 1e6;
    const details = {
      ...bytesOf(memory[i]),
      rounds: timed[timed.length - counts.length + i].rounds,
      flops: flops[i],
      ...comparison(counts, frames, flops, i),
    };
    return { ...timedRow(identity, frames[i]), gflops, share: gflops / peaks.gflops, details };
  });
  const shape = `${size} x ${size} pixels`;
  const embedding = timedRow({ ...name("image embedding"), shape, pass: "forward" }, encoded);
  return {
    rows: [embedding, promptRow(name("further prompt"), prompted, encoded), ...rows],
    peaks,
  };
}

function promptRow(name: Pick<Row, "group" | "name">, prompted: Sample, encoded: Sample): Row {
  return {
    ...timedRow({ ...name, shape: "1 point", pass: "forward" }, prompted),
    details: {
      of_embedding: prompted.ms / encoded.ms,
      cpu_of_embedding: prompted.cpuMs / encoded.cpuMs,
    },
  };
}

/** Bytes of GPU memory: weights, intermediates, and what is remembered of the objects and of frames. */
interface Memory {
  readonly weights: number;
  readonly arena: number;
  readonly state: number;
}

const bytesOf = ({ weights, arena, state }: Memory) => ({
  gpu_bytes: weights + arena + state,
  arena_bytes: arena,
  state_bytes: state,
});

/** A frame with several objects beside one with a single object, which is in the same measurement. */
function comparison(
  counts: readonly number[],
  frames: readonly Sample[],
  flops: readonly number[],
  i: number,
): Record<string, number> {
  const one = counts.indexOf(1);
  if (one < 0 || one === i) return {};
  const times = (of: (sample: Sample) => number) => of(frames[i]) / of(frames[one]);
  const ratio = flops[i] / flops[one];
  return {
    of_one_object: times(({ ms }) => ms),
    flop_ratio: ratio,
    over_flop_ratio: times(({ ms }) => ms) / ratio,
    of_separate_runs: times(({ ms }) => ms) / counts[i],
    cpu_of_one_object: times(({ cpuMs }) => cpuMs),
    cpu_over_flop_ratio: times(({ cpuMs }) => cpuMs) / ratio,
    cpu_of_separate_runs: times(({ cpuMs }) => cpuMs) / counts[i],
  };
}
