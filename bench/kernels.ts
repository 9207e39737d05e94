/** `bench kernels`: the kernels of real plans, each by itself. */
import { type AdapterProfile, type Runtime, runtime, UserError } from "../engine/mod.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { type Timed, timeInRounds, type Timing } from "./clock.ts";
import { takeInventory, type Work, type Workload } from "./inventory.ts";
import { partsOf } from "./parts.ts";
import { boundMs, type Peaks, peakWorks } from "./peak.ts";
import { Replay, SharedMemory, type Window } from "./replay.ts";
import { type Row, timedRow } from "./report.ts";
import { stepWorkload } from "./steps.ts";

/** Which kernels to measure, and how long. */
export interface KernelOptions {
  /** Pattern for the name, or for name, shape and pass. */
  readonly only?: string;
  /** Pattern for the names of the workloads whose plans are searched. */
  readonly from?: string;
  /** Kernels at most, those with the largest share of the workloads' time first; 0 for all. */
  readonly top: number;
  /** Kernels that take longer than this at the adapter's peaks are left out. */
  readonly longest: number;
  readonly rounds: number;
}

/** Sides of images whose plans are searched. */
const SIZES = [256, 512, 1024];

/** Rough time of a dispatch beside its work, for choosing kernels. */
const DISPATCH_MS = 0.02;

/** A pattern in which `*` stands for any text and `?` for a character; it fits the whole text. */
export function glob(pattern: string): (text: string) => boolean {
  const source = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&").replaceAll("*", ".*")
    .replaceAll("?", ".");
  const expression = new RegExp(`^${source}$`);
  return (text) => expression.test(text);
}

/** A workload, built when it is asked for. */
export interface Candidate {
  readonly name: string;
  build(): Workload;
}

/** Everything that SAM-2 T and SSS training with `nano` run. */
export function candidates(): Candidate[] {
  const parts = SIZES.flatMap((size) =>
    (["encoder", "mask decoder", "memory attention", "memory encoder"] as const).map((part) => ({
      name: `hiera_t ${part} ${size} px`,
      build: () => partsOf("sam2.1_hiera_t", size, 1, [part])[0],
    }))
  );
  const steps = (["supervised", "sss"] as const).map((method) => ({
    name: `nano ${method} step`,
    build: () => stepWorkload({ method, size: 128, batch: 4, unlabelledBatch: 2, classes: 3 }),
  }));
  return [...parts, ...steps];
}

/** A kernel with how often each workload runs it. */
export interface Counted {
  readonly work: Work;
  readonly counts: ReadonlyMap<string, number>;
}

/** Kernels of all workloads; equal ones are joined. */
export function countWorks(
  inventories: ReadonlyMap<string, { readonly works: readonly Work[] }>,
): Counted[] {
  const found = new Map<string, { work: Work; counts: Map<string, number> }>();
  for (const [workload, { works }] of inventories) {
    for (const work of works) {
      const { name, shape, pass, schedule, flops, steps } = work;
      // Of hand-written kernels, epilogues make many texts; generated ones are nothing but their text.
      const text = flops > 0 ? "" : steps.map(({ kernel }) => kernel.source).join();
      const key = [name, shape, pass, schedule, text].join("|");
      const entry = found.get(key) ?? { work, counts: new Map<string, number>() };
      entry.counts.set(workload, (entry.counts.get(workload) ?? 0) + 1);
      found.set(key, entry);
    }
  }
  return [...found.values()];
}

/** The costliest kernels of each workload in turn, until there are `top`. */
export function choose(
  all: readonly Counted[],
  peaks: Peaks,
  { only, top, longest }: Pick<KernelOptions, "only" | "top" | "longest">,
): Counted[] {
  const fits = only ? glob(only) : () => true;
  const wanted = all.filter(({ work }) =>
    (fits(work.name) || fits(`${work.name} ${work.shape} ${work.pass}`)) &&
    boundMs(work, peaks) <= longest
  );
  const names = new Set(wanted.flatMap(({ counts }) => [...counts.keys()]));
  const queues = [...names].map((name) => {
    const cost = ({ work, counts }: Counted) =>
      counts.get(name)! * (boundMs(work, peaks) + DISPATCH_MS * work.steps.length);
    return wanted.filter(({ counts }) => counts.has(name)).sort((a, b) => cost(b) - cost(a));
  });
  const chosen = new Set<Counted>();
  for (let rank = 0; queues.some((queue) => rank < queue.length); rank++) {
    for (const queue of queues) {
      if (rank < queue.length && (top === 0 || chosen.size < top)) chosen.add(queue[rank]);
    }
  }
  return [...chosen];
}

/** Puts the operands of kernels into the shared memory; those that hold indices keep their values. */
export function placer(rt: Runtime, memory: SharedMemory): (work: Work) => Replay {
  const own = new Map<string, Window>();
  return ({ operands, steps }) => {
    memory.reset();
    const windows = operands.map(({ bytes, leaf }): Window => {
      if (!leaf || leaf.dtype === "f32") return memory.take(bytes);
      let window = own.get(`${leaf.id}`);
      if (!window) {
        const buffer = rt.createBuffer(bytes);
        rt.device.gpu.queue.writeBuffer(buffer, 0, leaf.host as BufferSource);
        own.set(`${leaf.id}`, window = { buffer, offset: 0, bytes });
      }
      return window;
    });
    const dispatches = steps.map(({ kernel, bindings }) => ({
      kernel,
      windows: bindings.map((b) => windows[b]),
    }));
    const used = memory.used;
    return new Replay(rt, dispatches, () => memory.refresh(used));
  };
}

function rowOf({ work, counts }: Counted, { first, steady, rounds }: Timing, peaks: Peaks): Row {
  const { name, shape, pass, schedule, flops, bytes } = work;
  const bound = boundMs(work, peaks);
  return {
    ...timedRow({ group: "kernels", name, shape, pass }, steady),
    gflops: flops > 0 ? flops / steady.ms / 1e6 : null,
    gbps: bytes / steady.ms / 1e6,
    share: bound / steady.ms,
    schedule,
    details: {
      compile_ms: Math.max(0, first.ms - steady.ms),
      rounds,
      dispatches: work.steps.length,
      workloads: [...counts].map(([w, count]) => `${count} x ${w}`).join("; "),
    },
  };
}

/** Kernels of one op in one pass of one workload. */
interface OpOfWorkload {
  readonly workload: string;
  readonly entries: { readonly entry: Counted; readonly row: Row | undefined }[];
}

/**
 * Rates of an op over its measured shapes in a workload, weighted by their operations and counts, and
 * how much of the op's operations these are.
 */
export function weighted(
  all: readonly Counted[],
  rows: ReadonlyMap<Counted, Row>,
  peaks: Peaks,
): Row[] {
  const groups = new Map<string, OpOfWorkload>();
  for (const entry of all) {
    const { name, pass, flops } = entry.work;
    for (const workload of flops > 0 ? entry.counts.keys() : []) {
      const key = `${name}|${pass}|${workload}`;
      const group = groups.get(key) ?? { workload, entries: [] };
      group.entries.push({ entry, row: rows.get(entry) });
      groups.set(key, group);
    }
  }
  return [...groups.values()].flatMap((group) => weightedRow(group, peaks) ?? []);
}

function weightedRow({ workload, entries }: OpOfWorkload, peaks: Peaks): Row | undefined {
  const measured = entries.flatMap(({ entry, row }) => row ? [{ entry, row }] : []);
  if (measured.length < 2) return undefined;
  const count = ({ counts }: Counted) => counts.get(workload)!;
  const sum = (value: (row: Row) => number) =>
    measured.reduce((total, { entry, row }) => total + count(entry) * value(row), 0);
  const flopsOf = (list: readonly { entry: Counted }[]) =>
    list.reduce((total, { entry }) => total + count(entry) * entry.work.flops, 0);
  const ms = sum((row) => row.ms);
  const gflops = flopsOf(measured) / ms / 1e6;
  return {
    ...measured[0].row,
    shape: `${measured.length} of ${entries.length} shapes of ${workload}`,
    ms,
    cpu_ms: sum((row) => row.cpu_ms),
    gflops,
    gbps: null,
    share: gflops / peaks.gflops,
    schedule: null,
    details: { calls: sum(() => 1), coverage: flopsOf(measured) / flopsOf(entries) },
  };
}

/** What {@link benchKernels} found. */
export interface KernelRows {
  readonly rows: readonly Row[];
  readonly peaks: Peaks;
  /** Kernels that were left out, and why, in words. */
  readonly note: string;
}

/** Measures the chosen kernels among each other and with the adapter's peaks. */
export async function benchKernels(options: KernelOptions): Promise<KernelRows> {
  const rt = await runtime();
  const profile = await activeProfile();
  const from = options.from ? glob(options.from) : () => true;
  const workloads = candidates().filter(({ name }) => from(name));
  return await measureKernels(rt, profile, workloads, options);
}

/** As {@link benchKernels}, of given workloads. */
export async function measureKernels(
  rt: Runtime,
  profile: AdapterProfile,
  workloads: readonly Candidate[],
  options: KernelOptions,
): Promise<KernelRows> {
  const inventories = new Map(
    workloads.map(({ name, build }) => [
      name,
      takeInventory(build(), profile, rt.device.offsetAlignment),
    ]),
  );
  const peak = peakWorks(rt, profile);
  const rough = await timeInRounds(peak.works, { rounds: 2 });
  const all = countWorks(inventories);
  const chosen = choose(all, peak.peaks(rough.map((t) => t.steady)), options);
  if (chosen.length === 0) {
    throw new UserError(
      "No kernel fits; --only, --from and --longest choose among those of plans.",
    );
  }
  const bytesOf = ({ work }: Counted) =>
    SharedMemory.bytesOf(work.operands.map((o) => o.bytes), rt.device.offsetAlignment);
  const memory = new SharedMemory(rt, Math.max(16, ...chosen.map(bytesOf)));
  const place = placer(rt, memory);
  const works: Timed[] = [...peak.works, ...chosen.map(({ work }) => place(work))];
  const timings = await timeInRounds(works, { rounds: options.rounds });
  memory.destroy();
  peak.destroy();
  if (rt.failure) throw rt.failure;
  const peaks = peak.peaks(timings.slice(0, 2).map((t) => t.steady));
  const rows = chosen.map((entry, i) => rowOf(entry, timings[i + 2], peaks));
  const summary = weighted(all, new Map(chosen.map((entry, i) => [entry, rows[i]])), peaks);
  const note =
    `${chosen.length} of ${all.length} kernels; --top, --only, --from and --longest choose.`;
  return { rows: [...rows, ...summary], peaks, note };
}
