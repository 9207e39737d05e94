/** `bench step`: each method in a process of its own, on request with an empty shader cache first. */
import { fileURLToPath } from "node:url";
import { UserError } from "../engine/mod.ts";
import type { Method } from "../train/trainer.ts";
import type { Peaks } from "./peak.ts";
import type { Report, Row } from "./report.ts";
import { benchStep, type StepBenchOptions } from "./step.ts";

/** Options of the command. */
export interface StepCommandOptions extends StepBenchOptions {
  readonly methods: readonly Method[];
  /** Whether first steps with an empty and with a filled shader cache are measured too. */
  readonly cold: boolean;
}

const LAUNCH = fileURLToPath(new URL("../train/launch.ts", import.meta.url));

/** Runs the benchmark of one method in a new process and reads its report. */
async function inChild(
  method: Method,
  { size, batch, unlabelledBatch, rounds }: StepBenchOptions,
  env: Record<string, string> = {},
): Promise<Report> {
  const file = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const options = {
      method,
      size,
      batch,
      "unlabelled-batch": unlabelledBatch,
      rounds,
      json: file,
    };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, `${value}`]);
    const { code, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", LAUNCH, "bench/main.ts", "step", ...flags],
      env,
      stdout: "null",
    }).output();
    if (code !== 0) {
      throw new UserError(`bench step ${method}: ${new TextDecoder().decode(stderr).trim()}`);
    }
    return JSON.parse(await Deno.readTextFile(file));
  } finally {
    await Deno.remove(file);
  }
}

/** First steps in processes that start with an empty cache of compiled kernels, then with a full one. */
async function firstSteps(method: Method, options: StepBenchOptions): Promise<Row[]> {
  const folder = await Deno.makeTempDir();
  try {
    const rows: Row[] = [];
    for (const cache of ["empty", "filled"]) {
      const env = { MESA_SHADER_CACHE_DIR: folder };
      const report = await inChild(method, { ...options, rounds: 1 }, env);
      const first = report.rows.find(({ pass }) => pass === "first step")!;
      const steady = report.rows.find(({ pass }) => pass === "step")!;
      rows.push({
        ...first,
        pass: `first step, ${cache} cache`,
        details: { over_steady_ms: first.ms - steady.ms },
      });
    }
    return rows;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Rows of all methods; the peaks are those of the last one's run. */
export async function runStep(
  { methods, cold, ...options }: StepCommandOptions,
): Promise<{ rows: Row[]; peaks: Peaks }> {
  if (methods.length === 1 && !cold) return await benchStep(methods[0], options);
  const rows: Row[] = [];
  let peaks: Peaks = { gflops: 0, gbps: 0 };
  for (const method of methods) {
    const report = await inChild(method, options);
    rows.push(...report.rows);
    if (report.peaks) peaks = report.peaks;
    if (cold) rows.push(...await firstSteps(method, options));
  }
  return { rows, peaks };
}
