/**
 * A process that segments an image and prints how long each part took, as JSON:
 * `deno run -A bench/first_mask.ts CONFIG SIZE WEIGHTS`.
 */
import process from "node:process";
import { loadWeights } from "../engine/checkpoint/mod.ts";
import { runtime } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import { median } from "./clock.ts";
import { CONFIGURATIONS } from "./parts.ts";

/** Milliseconds until the first mask of a process, by what they were for. */
export interface FirstMask {
  /** Since the process started: its modules, the adapter, the model and its weights. */
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

/** Measures this process. @param weights file of them. */
export async function firstMask(config: string, size: number, weights: string): Promise<FirstMask> {
  await runtime();
  const model = new Sam2({ ...CONFIGURATIONS[config], imageSize: size });
  const named = new Map(model.namedParameters());
  const zeros = (key: string) => {
    const { shape, size } = named.get(key)!;
    return { shape, data: new Float32Array(size) };
  };
  await FlatParameters.create(model, { values: { get: zeros } });
  await loadWeights(model, weights);
  const load = performance.now();
  const image = { data: new Uint8Array(3 * size * size).fill(99), width: size, height: size };
  const predictor = new ImagePredictor(model);
  const times: number[] = [];
  let cpu = 0;
  for (let i = 0; i <= LATER; i++) {
    const start = performance.now();
    await predictor.setImage(image);
    await predictor.predict([{ points: [[size / 2, size / 2]], labels: [1] }]);
    times.push(performance.now() - start);
    const used = process.cpuUsage();
    cpu ||= (used.user + used.system) / 1000;
  }
  const compute = median(times.slice(1));
  return { load, compile: Math.max(0, times[0] - compute), compute, cpu };
}

if (import.meta.main) {
  const [config, size, weights] = Deno.args;
  console.log(JSON.stringify(await firstMask(config, Number(size), weights)));
}
