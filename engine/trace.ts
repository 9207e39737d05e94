/** Times of kernels as a Chrome trace: one compute pass a dispatch, timestamps around each. */
import type { Pass, Runtime, Watcher } from "./runtime.ts";

/** Most timestamps of one query set that WebGPU allows. */
const SET_SIZE = 4096;

const BYTES = BigUint64Array.BYTES_PER_ELEMENT;

/** An event of the trace event format; times in microseconds. */
export interface TraceEvent {
  readonly name: string;
  /** `X`: a span; `M`: the name of a track. */
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** What Perfetto and chrome://tracing read. */
export interface Trace {
  readonly traceEvents: readonly TraceEvent[];
  readonly displayTimeUnit: "ms";
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** The tracks of a trace. */
const TRACKS = { host: 1, adapter: 2 } as const;

/** A part of the time, in milliseconds of `performance.now()`. */
interface Span {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly args?: Readonly<Record<string, unknown>>;
}

interface Submission {
  readonly begun: number;
  readonly submitted: number;
  readonly kernels: number;
  /** When all of it was done; known where the adapter cannot tell the times of kernels. */
  readonly done: Promise<number> | undefined;
}

interface Dispatched {
  readonly label: string;
  readonly grid: readonly [number, number, number];
}

/** Records what a device computes, from its start until {@link Tracer.finish}. */
export class Tracer implements Watcher {
  private readonly sets: GPUQuerySet[] = [];
  private readonly dispatched: Dispatched[] = [];
  private readonly submissions: Submission[] = [];
  private readonly spans: Span[] = [];
  private begun: number | undefined;
  private pending = 0;

  private constructor(private readonly runtime: Runtime, private readonly timestamps: boolean) {}

  /**
   * Starts to record on a device that nothing else records on.
   *
   * @param timestamps whether kernels are timed one by one: where the adapter can, unless told not to.
   */
  static start(
    runtime: Runtime,
    timestamps: boolean = runtime.device.gpu.features.has("timestamp-query"),
  ): Tracer {
    if (runtime.watcher) throw new Error("The device is being recorded already.");
    return runtime.watcher = new Tracer(runtime, timestamps);
  }

  /** Adds a span of the host's work. Times as of `performance.now()`. */
  span(name: string, start: number, end: number): void {
    this.spans.push({ name, start, end });
  }

  /** A pass whose dispatches are named by `labels`, in order. */
  beginPass(encoder: GPUCommandEncoder, labels: readonly string[]): Pass {
    this.begun ??= performance.now();
    this.pending += labels.length;
    return this.timestamps ? this.timedPass(encoder, labels) : encoder.beginComputePass();
  }

  /** Notes that what was encoded has been submitted. */
  submitted(): void {
    const now = performance.now();
    const done = this.timestamps
      ? undefined
      : this.runtime.device.gpu.queue.onSubmittedWorkDone().then(() => performance.now());
    this.submissions.push({
      begun: this.begun ?? now,
      submitted: now,
      kernels: this.pending,
      done,
    });
    this.begun = undefined;
    this.pending = 0;
  }

  /** Where the next dispatch writes its two timestamps. */
  private writes(): GPUComputePassTimestampWrites {
    const { gpu } = this.runtime.device;
    const first = 2 * this.dispatched.length;
    const at = Math.floor(first / SET_SIZE);
    const querySet = this.sets[at] ??= gpu.createQuerySet({ type: "timestamp", count: SET_SIZE });
    const beginningOfPassWriteIndex = first % SET_SIZE;
    return {
      querySet,
      beginningOfPassWriteIndex,
      endOfPassWriteIndex: beginningOfPassWriteIndex + 1,
    };
  }

  private timedPass(encoder: GPUCommandEncoder, labels: readonly string[]): Pass {
    const groups = new Map<number, GPUBindGroup>();
    let pipeline: GPUComputePipeline | undefined;
    let at = 0;
    return {
      setPipeline: (next) => void (pipeline = next),
      setBindGroup: (index, group) => void groups.set(index, group),
      dispatchWorkgroups: (x, y, z) => {
        const label = labels[at++];
        const pass = encoder.beginComputePass({ label, timestampWrites: this.writes() });
        this.dispatched.push({ label, grid: [x, y, z] });
        pass.setPipeline(pipeline!);
        for (const [index, group] of groups) pass.setBindGroup(index, group);
        pass.dispatchWorkgroups(x, y, z);
        pass.end();
        // The next pipeline may have fewer groups.
        groups.clear();
      },
      end: () => {},
    };
  }

  /**
   * Stops recording and waits for all that was submitted.
   *
   * @param metadata what the trace is of.
   */
  async finish(metadata: Readonly<Record<string, unknown>> = {}): Promise<Trace> {
    this.runtime.watcher = undefined;
    const kernels = this.timestamps ? await this.kernelSpans() : await this.submissionSpans();
    const host = [
      ...this.spans,
      ...this.submissions.map(({ begun, submitted, kernels }) => ({
        name: `encode and submit ${kernels} kernels`,
        start: begun,
        end: submitted,
      })),
    ];
    const origin = Math.min(...[...host, ...kernels].map(({ start }) => start));
    const { name } = this.runtime.device;
    return {
      traceEvents: [
        named("process_name", TRACKS.host, "step"),
        named("thread_name", TRACKS.host, "host"),
        named("thread_name", TRACKS.adapter, `adapter: ${name}`),
        ...host.map((span) => event(span, TRACKS.host, origin)),
        ...kernels.map((span) => event(span, TRACKS.adapter, origin)),
      ],
      displayTimeUnit: "ms",
      metadata: { adapter: name, timing: TIMING[`${this.timestamps}`], ...metadata },
    };
  }

  /** The spans of kernels, by the adapter's clock; its first kernel starts with its submission. */
  private async kernelSpans(): Promise<Span[]> {
    const times = await this.readTimes();
    if (times.length === 0) return [];
    const first = times[0];
    const start = this.submissions[0]?.submitted ?? 0;
    const at = (time: bigint) => start + Number(time - first) / 1e6;
    return this.dispatched.map(({ label, grid }, i) => ({
      name: label,
      start: at(times[2 * i]),
      end: at(times[2 * i + 1]),
      args: { grid: grid.join("x"), position: i },
    }));
  }

  /** The spans of whole submissions, by the host's clock: one starts when the one before is done. */
  private async submissionSpans(): Promise<Span[]> {
    let free = 0;
    const spans: Span[] = [];
    for (const { submitted, kernels, done } of this.submissions) {
      const end = await done!;
      spans.push({
        name: `${kernels} kernels`,
        start: Math.min(end, Math.max(submitted, free)),
        end,
      });
      free = end;
    }
    return spans;
  }

  /** All timestamps in nanoseconds, in order; frees the query sets. */
  private async readTimes(): Promise<BigUint64Array> {
    const { runtime, sets } = this;
    const total = 2 * this.dispatched.length;
    if (total === 0) return new BigUint64Array();
    const { gpu } = runtime.device;
    const bytes = total * BYTES;
    const resolved = runtime.createBuffer(
      bytes,
      GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
    );
    const staging = runtime.takeStaging(bytes);
    const encoder = gpu.createCommandEncoder();
    sets.forEach((set, i) => {
      const count = Math.min(SET_SIZE, total - i * SET_SIZE);
      encoder.resolveQuerySet(set, 0, count, resolved, i * SET_SIZE * BYTES);
    });
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, bytes);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ, 0, bytes);
    const times = new BigUint64Array(staging.getMappedRange(0, bytes).slice(0));
    staging.unmap();
    runtime.releaseStaging(staging);
    runtime.destroyBuffer(resolved);
    for (const set of sets) set.destroy();
    return times;
  }
}

/** How the adapter's track was timed, in words. */
const TIMING = {
  true: "Each kernel ran in a pass of its own between two timestamp queries, so the step took " +
    "longer than a normal one. The adapter's clock is placed so that its first kernel starts where " +
    "the first submission ends.",
  false: "This adapter has no timestamp queries: its track shows whole submissions, timed on the " +
    "host.",
} as const;

function named(kind: "process_name" | "thread_name", tid: number, name: string): TraceEvent {
  return { name: kind, ph: "M", pid: 1, tid, args: { name } };
}

function event({ name, start, end, args }: Span, tid: number, origin: number): TraceEvent {
  const [ts, dur] = [start - origin, end - start].map((ms) => Math.round(ms * 1e6) / 1e3);
  return { name, ph: "X", pid: 1, tid, ts, dur, ...(args && { args }) };
}
