/** Runs dispatches of plans by themselves, on memory that all measured kernels share. */
import type { Runtime, Storage } from "../engine/mod.ts";
import type { Kernel } from "../shaders/kernel.ts";
import { type Sample, settle, stopwatch, type Timed } from "./clock.ts";

/** A window of a buffer. */
export type Window = Storage & { readonly bytes: number };

/** A kernel on given memory. */
export interface Dispatch {
  readonly kernel: Kernel;
  readonly windows: readonly Window[];
}

/** Random values that are copied over windows before each measurement. */
const PRISTINE_BYTES = 2 ** 24;

/** Values in [-0.5, 0.5), the same in every run. */
export function noise(length: number): Float32Array<ArrayBuffer> {
  let state = 12345;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/**
 * One buffer in which the operands of one kernel after the other lie: the kernels of a large model
 * would not fit into memory side by side.
 */
export class SharedMemory {
  private readonly pristine: GPUBuffer;
  private readonly arena: GPUBuffer;
  /** Bytes handed out since the last {@link reset}. */
  used = 0;

  /** @param bytes that the windows of the most demanding kernel take. */
  constructor(private readonly runtime: Runtime, bytes: number) {
    this.pristine = runtime.createBuffer(PRISTINE_BYTES);
    this.arena = runtime.createBuffer(bytes);
    runtime.device.gpu.queue.writeBuffer(this.pristine, 0, noise(PRISTINE_BYTES / 4));
  }

  /** Bytes that windows of these sizes take. */
  static bytesOf(sizes: readonly number[], alignment: number): number {
    return sizes.reduce((sum, bytes) => sum + Math.ceil(bytes / alignment) * alignment, 0);
  }

  /** Starts over at the beginning of the memory. */
  reset(): void {
    this.used = 0;
  }

  /** The next `bytes`. */
  take(bytes: number): Window {
    const offset = this.used;
    this.used += SharedMemory.bytesOf([bytes], this.runtime.device.offsetAlignment);
    return { buffer: this.arena, offset, bytes };
  }

  /** Fills the first `bytes` with random values: the kernel before left its results there. */
  refresh(bytes: number): void {
    const { gpu } = this.runtime.device;
    const encoder = gpu.createCommandEncoder();
    for (let at = 0; at < bytes; at += PRISTINE_BYTES) {
      const size = Math.min(PRISTINE_BYTES, bytes - at, this.arena.size - at);
      encoder.copyBufferToBuffer(this.pristine, 0, this.arena, at, size);
    }
    gpu.queue.submit([encoder.finish()]);
  }

  /** Frees the memory. */
  destroy(): void {
    this.runtime.destroyBuffer(this.pristine);
    this.runtime.destroyBuffer(this.arena);
  }
}

/** Dispatches that are encoded again and again. */
export class Replay implements Timed {
  private compiled: readonly { pipeline: GPUComputePipeline; groups: GPUBindGroup[] }[] | undefined;

  /** @param refresh puts fresh values into the memory, outside the measurement. */
  constructor(
    private readonly runtime: Runtime,
    private readonly dispatches: readonly Dispatch[],
    private readonly refresh: () => void = () => {},
  ) {}

  /** Pipelines and bind groups, made by the first run. */
  private ready() {
    return this.compiled ??= this.dispatches.map(({ kernel, windows }) => {
      const { pipeline, layout } = this.runtime.pipelineOf(kernel, windows.length);
      const groups = [this.runtime.bindGroup(layout, windows)];
      if (kernel.sizes) groups.push(this.runtime.sizes.groupOf(kernel.sizes));
      return { pipeline, groups };
    });
  }

  private encode(runs: number): GPUCommandBuffer {
    const compiled = this.ready();
    const encoder = this.runtime.device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let run = 0; run < runs; run++) {
      for (const [i, { pipeline, groups }] of compiled.entries()) {
        pass.setPipeline(pipeline);
        groups.forEach((group, g) => pass.setBindGroup(g, group));
        pass.dispatchWorkgroups(...this.dispatches[i].kernel.grid);
      }
    }
    pass.end();
    return encoder.finish();
  }

  /** Runs the dispatches; the first call compiles them. */
  async time(runs: number): Promise<Sample> {
    this.refresh();
    await settle();
    const { ms, cpuMs } = await stopwatch(async () => {
      this.runtime.device.gpu.queue.submit([this.encode(runs)]);
      await settle();
    });
    return { ms: ms / runs, cpuMs: cpuMs / runs };
  }
}
