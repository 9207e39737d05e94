/** Counts what a device is asked for, besides what the engine itself counts. */
import type { Runtime } from "../engine/mod.ts";

/** What a {@link Watch} has seen. */
export interface Seen {
  /** Bytes of GPU buffers alive at the most, those from before the watch included. */
  readonly peakBytes: number;
  /** Pipelines compiled. */
  readonly pipelines: number;
  readonly dispatches: number;
  readonly submits: number;
  readonly buffers: number;
  readonly bindGroups: number;
}

/**
 * Watches a device from now on: all buffers pass through it, so that the peak is exact even where
 * one is made and destroyed within a step.
 */
export class Watch {
  private live: number;
  private peak: number;
  private pipelines = 0;
  private readonly start: Runtime["counters"];
  private readonly unwatch: () => void;

  /** Starts to watch. */
  constructor(private readonly runtime: Runtime) {
    const { gpu } = runtime.device;
    this.start = { ...runtime.counters };
    this.live = this.peak = runtime.counters.liveBytes;
    const { createBuffer, createComputePipeline } = gpu;
    gpu.createBuffer = (descriptor) => this.note(createBuffer.call(gpu, descriptor));
    gpu.createComputePipeline = (descriptor) => {
      this.pipelines++;
      return createComputePipeline.call(gpu, descriptor);
    };
    this.unwatch = () => Object.assign(gpu, { createBuffer, createComputePipeline });
  }

  private note(buffer: GPUBuffer): GPUBuffer {
    this.live += buffer.size;
    this.peak = Math.max(this.peak, this.live);
    const { destroy } = buffer;
    buffer.destroy = () => {
      this.live -= buffer.size;
      buffer.destroy = destroy;
      return destroy.call(buffer);
    };
    return buffer;
  }

  /** Everything since the start. */
  get seen(): Seen {
    const { counters } = this.runtime;
    return {
      peakBytes: this.peak,
      pipelines: this.pipelines,
      dispatches: counters.dispatches - this.start.dispatches,
      submits: counters.submits - this.start.submits,
      buffers: counters.buffersCreated - this.start.buffersCreated,
      bindGroups: counters.bindGroupsCreated - this.start.bindGroupsCreated,
    };
  }

  /** Ends the watch. */
  stop(): void {
    this.unwatch();
  }
}

/** What happened between two looks at a watch, per run. */
export function perRun(before: Seen, after: Seen, runs: number) {
  return {
    dispatches: (after.dispatches - before.dispatches) / runs,
    submits: (after.submits - before.submits) / runs,
    buffers_created: (after.buffers - before.buffers) / runs,
    bind_groups_created: (after.bindGroups - before.bindGroups) / runs,
  };
}
