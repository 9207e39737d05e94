/** `deno task bench`: how fast kernels, models and training steps run, and how fast others are. */
import { device } from "../engine/mod.ts";
import { benchKernels } from "./kernels.ts";
import { benchModel } from "./model.ts";
import { type Job, parseRequest } from "./options.ts";
import type { Peaks } from "./peak.ts";
import { benchPeers, peerColumns } from "./peers.ts";
import { type Column, COMMON, detail, rounded, type Row, table, writeReport } from "./report.ts";
import { runStep } from "./step_command.ts";
import { runTracking } from "./tracking_command.ts";
import { benchTune } from "./tune.ts";

/** What one part gives. */
interface Outcome {
  readonly rows: readonly Row[];
  /** What the adapter reaches at best, where the part measured it. */
  readonly peaks?: Peaks;
  /** Sentences about what was not measured. */
  readonly notes: readonly string[];
}

async function outcomeOf({ group, options }: Job): Promise<Outcome> {
  switch (group) {
    case "kernels": {
      const { note, ...found } = await benchKernels(options);
      return { ...found, notes: [note] };
    }
    case "model":
      return { ...await benchModel(options), notes: [] };
    case "tracking":
      return { ...await runTracking(options), notes: [] };
    case "step":
      return { ...await runStep(options), notes: [] };
    case "peers":
      return await benchPeers(options);
    case "tune":
      return await benchTune(options);
  }
}

const megabytes = (name: string, title: string): Column => ({
  title,
  text: ({ details }) => typeof details[name] === "number" ? `${rounded(details[name] / 1e6)}` : "",
});

const percentage = (title: string, name: string): Column => ({
  title,
  text: ({ details }) => {
    const share = details[name];
    return typeof share === "number" ? `${(100 * share).toFixed(1)} %` : "";
  },
});

/** Columns after the common ones. Those without content are not shown. */
function columnsOf(rows: readonly Row[]): Column[] {
  return [
    ...COMMON,
    detail("host ms", "host_ms"),
    detail("load ms", "load_ms"),
    detail("now", "tile_now"),
    detail("now ms", "now_ms"),
    detail("best", "tile_best"),
    percentage("gain", "gain"),
    detail("compile ms", "compile_ms"),
    detail("compute ms", "compute_ms"),
    detail("first ms", "first_ms"),
    detail("over steady ms", "over_steady_ms"),
    megabytes("gpu_bytes", "GPU MB"),
    megabytes("arena_bytes", "arena MB"),
    megabytes("state_bytes", "state MB"),
    detail("arena / live", "arena_over_live"),
    megabytes("peak_gpu_bytes", "peak GPU MB"),
    detail("kernels", "kernels"),
    detail("dispatches", "dispatches"),
    detail("submits", "submits"),
    detail("new buffers", "buffers_created"),
    detail("new bind groups", "bind_groups_created"),
    percentage("of embedding", "of_embedding"),
    detail("x 1 object", "of_one_object"),
    detail("FLOP ratio", "flop_ratio"),
    detail("over FLOP ratio", "over_flop_ratio"),
    percentage("of separate runs", "of_separate_runs"),
    ...peerColumns(rows),
    { title: "schedule", text: (r) => r.schedule ?? "", left: true },
  ];
}

/** Runs the benchmarks; returns the exit code. */
export async function run(args: string[]): Promise<number> {
  const request = parseRequest(args);
  if (!request) return 0;
  const { name: adapter } = await device();
  const load = () => Deno.loadavg()[0];
  const before = load();
  console.log(`adapter: ${adapter}; load of the machine: ${before.toFixed(1)}`);
  const rows: Row[] = [];
  let peaks: Peaks | undefined;
  for (const job of request.jobs) {
    const outcome = await outcomeOf(job);
    ({ peaks } = outcome);
    rows.push(...outcome.rows);
    const reached = peaks
      ? `: peaks ${rounded(peaks.gflops)} GFLOP/s, ${rounded(peaks.gbps)} GB/s`
      : "";
    console.log(`\n${job.group}${reached}`);
    console.log(table(outcome.rows, columnsOf(outcome.rows)));
    for (const note of outcome.notes) console.log(note);
  }
  if (request.json) {
    const date = new Date().toISOString();
    await writeReport(request.json, {
      adapter,
      date,
      ...peaks && { peaks },
      load: [before, load()],
      rows,
    });
  }
  return 0;
}
