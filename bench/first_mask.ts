/**
 * A process that segments an image and prints how long each part took, as JSON:
 * `deno run -A bench/first_mask.ts CONFIG SIZE WEIGHTS STARTED`, where STARTED is the time of
 * {@link now} at which it was started.
 */
import process from "node:process";
import { loadWeights } from "../engine/checkpoint/mod.ts";
import { runtime } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import { median, stopwatch } from "./clock.ts";
import { CONFIGURATIONS } from "./parts.ts";

/** Milliseconds since 1970, as all processes of a machine count them. */
export const now = () => performance.timeOrigin + performance.now();

/** Milliseconds until the first mask of a process, by what they were for; they add up to `wall`. */
export interface FirstMask {
  /** From the start of the process to the mask. */
  readonly wall: number;
  /** Until there was an image to segment: the process, its modules, the adapter, model and weights. */
  readonly load: number;
  /** What the first mask took longer than later ones: planning and compiling. */
  readonly compile: number;
  /** A later mask of an image that is new. */
  readonly compute: number;
  /** CPU time of the process until the first mask. */
  readonly cpu: number;
}

/** Masks after the first one. */
const LATER = 3;

/**
 * Measures this process.
 *
 * @param weights file of them.
 * @param started when the process was started.
 */
async function firstMask(
  config: string,
  size: number,
  weights: string,
  started: number,
): Promise<FirstMask> {
  await runtime();
  const model = new Sam2({ ...CONFIGURATIONS[config], imageSize: size });
  const named = new Map(model.namedParameters());
  const zeros = (key: string) => {
    const { shape, size } = named.get(key)!;
    return { shape, data: new Float32Array(size) };
  };
  await FlatParameters.create(model, { values: { get: zeros } });
  await loadWeights(model, weights);
  const image = { data: new Uint8Array(3 * size * size).fill(99), width: size, height: size };
  const predictor = new ImagePredictor(model);
  const segment = async () => {
    await predictor.setImage(image);
    await predictor.predict([{ points: [[size / 2, size / 2]], labels: [1] }]);
  };
  const load = now() - started;
  await segment();
  const wall = now() - started;
  const { user, system } = process.cpuUsage();
  const later: number[] = [];
  for (let i = 0; i < LATER; i++) later.push((await stopwatch(segment)).ms);
  const compute = Math.min(wall - load, median(later));
  return { wall, load, compile: wall - load - compute, compute, cpu: (user + system) / 1000 };
}

if (import.meta.main) {
  const [config, size, weights, started] = Deno.args;
  console.log(JSON.stringify(await firstMask(config, Number(size), weights, Number(started))));
}
