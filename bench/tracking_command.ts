/** `bench model --tracking`: configurations and sizes in turn, on request first masks too. */
import { fileURLToPath } from "node:url";
import { saveWeights } from "../engine/checkpoint/mod.ts";
import { UserError } from "../engine/mod.ts";
import { initialise } from "../engine/nn/mod.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { type FirstMask, now } from "./first_mask.ts";
import { CONFIGURATIONS } from "./parts.ts";
import type { Peaks } from "./peak.ts";
import { type Row, timedRow } from "./report.ts";
import { benchTracking } from "./tracking.ts";

/** Options of the command. */
export interface TrackingCommandOptions {
  readonly models: readonly { readonly config: string; readonly sizes: readonly number[] }[];
  /** Numbers of objects that are tracked together. */
  readonly objects: readonly number[];
  /** Whether first masks of processes with an empty and with a filled shader cache are timed. */
  readonly cold: boolean;
  readonly rounds: number;
}

const FIRST_MASK = fileURLToPath(new URL("./first_mask.ts", import.meta.url));

/** Rows of all configurations and sizes; the peaks are those of the last one's run. */
export async function runTracking(
  { models, objects, cold, rounds }: TrackingCommandOptions,
): Promise<{ rows: Row[]; peaks: Peaks }> {
  const rows: Row[] = [];
  let peaks: Peaks = { gflops: 0, gbps: 0 };
  for (const { config, sizes } of models) {
    for (const size of sizes) {
      const found = await benchTracking({ config, size, objects, rounds });
      rows.push(...found.rows, ...(cold ? await firstMasks(config, size) : []));
      peaks = found.peaks;
    }
  }
  return { rows, peaks };
}

/** First masks in processes that start with an empty cache of compiled kernels, then with a full one. */
export async function firstMasks(config: string, size: number): Promise<Row[]> {
  const folder = await Deno.makeTempDir();
  try {
    const weights = `${folder}/weights.safetensors`;
    const model = new Sam2({ ...CONFIGURATIONS[config], imageSize: size });
    await initialise(model, 0);
    await saveWeights(model, weights);
    const rows: Row[] = [];
    for (const cache of ["empty", "filled"]) {
      const time = await inChild([config, `${size}`, weights], `${folder}/cache`);
      const identity = { name: `${config} first mask ${size} px`, shape: `${cache} cache` };
      const whole = { ms: time.wall, cpuMs: time.cpu };
      rows.push({
        ...timedRow({ group: "model", ...identity, pass: "forward" }, whole),
        details: { load_ms: time.load, compile_ms: time.compile, compute_ms: time.compute },
      });
    }
    return rows;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function inChild(args: readonly string[], cache: string): Promise<FirstMask> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", FIRST_MASK, ...args, `${now()}`],
    env: { MESA_SHADER_CACHE_DIR: cache },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim());
  if (code !== 0) throw new UserError(`The first mask of a new process failed: ${err}`);
  return JSON.parse(out);
}
