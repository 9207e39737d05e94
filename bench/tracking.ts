/** `bench model --tracking`: an image and its prompts, and frames with several tracked objects. */
import { type Runtime, runtime } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import type { FrameSource } from "../model/predictors/frame_source.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import type { RgbImage } from "../model/sam2/image_transform.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { counted } from "../train/run/result_folder.ts";
import { type Sample, settle, submitted, type Timed, timeInRounds } from "./clock.ts";
import { takeInventory } from "./inventory.ts";
import { CONFIGURATIONS, partsOf } from "./parts.ts";
import { type Peaks, peakWorks } from "./peak.ts";
import { noise } from "./replay.ts";
import { type Row, timedRow } from "./report.ts";

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
const ENDLESS = 1_000_000;

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
function imageWorks(model: Sam2, image: RgbImage): { encode: Timed; prompt: Timed } {
  const predictor = new ImagePredictor(model);
  const place = click(0, 1, image.width);
  return {
    encode: submitted(() => predictor.setImage(image)),
    prompt: submitted(() => predictor.predict([{ points: [place], labels: [1] }])),
  };
}

/** A video in which objects are tracked frame by frame. */
interface Tracked {
  readonly count: number;
  readonly work: Timed;
  /** Bytes of intermediate values. */
  readonly arena: number;
  /** Frees all that it remembers, and tells the bytes of that. */
  close(): Promise<number>;
}

async function tracked(
  rt: Runtime,
  model: Sam2,
  image: RgbImage,
  count: number,
): Promise<Tracked> {
  const { width, height } = image;
  const frames: FrameSource = { count: ENDLESS, width, height, read: () => image };
  const predictor = new VideoPredictor(model, frames);
  for (let object = 0; object < count; object++) {
    const points = [click(object, count, width)];
    await predictor.addPointsOrBox(0, object + 1, { points, labels: [1] });
  }
  const masks = predictor.propagate();
  // From here on every frame attends to as many memories and object pointers as any later one.
  const { numMaskmem, maxObjPtrsInEncoder } = model.config;
  const warm = Math.max(numMaskmem, maxObjPtrsInEncoder) + 1;
  for (let i = 0; i < warm; i++) await masks.next();
  await settle();
  return {
    count,
    work: submitted(() => masks.next()),
    arena: rt.arenaBytes,
    close: async () => {
      await masks.return();
      const before = rt.counters.liveBytes;
      await predictor.close();
      return before - rt.counters.liveBytes;
    },
  };
}

/** Operations of a frame by the plans of its parts: of the image, and of each object. */
async function frameFlops(
  config: string,
  size: number,
): Promise<{ image: number; object: number }> {
  const { device: { offsetAlignment } } = await runtime();
  const profile = await activeProfile();
  const [image, ...others] = partsOf(config, size).map(({ name, forward }) =>
    takeInventory({ name, forward, backward: [] }, profile, offsetAlignment).flops
  );
  return { image, object: others.reduce((a, b) => a + b) };
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
  const { encode, prompt } = imageWorks(model, image);
  const videos: Tracked[] = [];
  // In ascending order, so that the arena is no larger than a frame needs.
  const ascending = objects.toSorted((a, b) => a - b);
  for (const count of ascending) videos.push(await tracked(rt, model, image, count));
  const peak = peakWorks(rt, await activeProfile());
  const works = [...peak.works, encode, prompt, ...videos.map(({ work }) => work)];
  const timings = (await timeInRounds(works, { rounds })).map(({ steady }) => steady);
  const peaks = peak.peaks(timings.slice(0, 2));
  const [encoded, prompted, ...frames] = timings.slice(2);
  const bytes: number[] = [];
  for (const { arena, close } of videos) bytes.push(weights.values.size + arena + await close());
  peak.destroy();
  weights.destroy();
  if (rt.failure) throw rt.failure;
  const name = (what: string) => ({ group: "model", name: `${config} ${what} ${size} px` });
  const rows: Row[] = [
    timedRow(
      { ...name("image embedding"), shape: `${size} x ${size} pixels`, pass: "forward" },
      encoded,
    ),
    {
      ...timedRow({ ...name("further prompt"), shape: "1 point", pass: "forward" }, prompted),
      details: {
        of_embedding: prompted.ms / encoded.ms,
        cpu_of_embedding: prompted.cpuMs / encoded.cpuMs,
      },
    },
  ];
  const parts = await frameFlops(config, size);
  const flops = videos.map(({ count }) => parts.image + count * parts.object);
  for (const [i, { count }] of videos.entries()) {
    const identity = { ...name("tracking"), shape: counted(count, "object"), pass: "forward" };
    const gflops = flops[i] / frames[i].ms / 1e6;
    const row = timedRow(identity, frames[i]);
    const compared = comparison(videos.map(({ count }) => count), frames, flops, i);
    const details = { gpu_bytes: bytes[i], flops: flops[i], ...compared };
    rows.push({ ...row, gflops, share: gflops / peaks.gflops, details });
  }
  return { rows, peaks };
}

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
