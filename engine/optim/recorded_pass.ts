/** Dispatches on fixed buffers: recorded once, replayed without creating anything. */
import type { Arg, Lowering } from "../../shaders/kernel.ts";
import type { Runtime } from "../runtime.ts";
import type { Storage } from "../tensor.ts";

/** A window of a buffer. */
export type BufferWindow = Storage & { readonly bytes: number };

interface Recorded {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly group: GPUBindGroup;
  readonly sizes: GPUBindGroup | undefined;
  readonly grid: readonly [number, number, number];
}

/** A list of dispatches. */
export class RecordedPass {
  private readonly dispatches: Recorded[] = [];
  private readonly buffers = new Set<GPUBuffer>();
  private readonly scratch: GPUBuffer[] = [];

  constructor(private readonly runtime: Runtime) {}

  /** Appends the steps of a lowering whose arguments lie in the given windows. */
  add(lowering: Lowering, windows: Readonly<Partial<Record<Arg, BufferWindow>>>): void {
    const { runtime } = this;
    const scratch = (lowering.scratch ?? []).map((bytes): BufferWindow => {
      const buffer = runtime.createBuffer(bytes);
      this.scratch.push(buffer);
      return { buffer, offset: 0, bytes: buffer.size };
    });
    for (const { kernel, args } of lowering.steps) {
      const bound = args.map((arg) => {
        const window = arg.startsWith("tmp") ? scratch[Number(arg.slice(3))] : windows[arg];
        if (!window) throw new Error(`${kernel.label}: argument ${arg} has no buffer.`);
        return window;
      });
      for (const { buffer } of bound) this.buffers.add(buffer);
      const { pipeline, layout } = runtime.pipelineOf(kernel, bound.length);
      this.dispatches.push({
        label: kernel.label,
        pipeline,
        group: runtime.bindGroup(layout, bound),
        sizes: kernel.sizes && runtime.sizes.groupOf(kernel.sizes),
        grid: kernel.grid,
      });
    }
  }

  /**
   * Encodes all dispatches in one compute pass.
   *
   * @throws {RangeError} where memory that they work on has been freed.
   */
  encode(encoder: GPUCommandEncoder): void {
    this.requireLive();
    const pass = this.runtime.beginPass(encoder, () => this.dispatches.map(({ label }) => label));
    for (const { pipeline, group, sizes, grid } of this.dispatches) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      if (sizes) pass.setBindGroup(1, sizes);
      pass.dispatchWorkgroups(...grid);
    }
    pass.end();
    this.runtime.counters.dispatches += this.dispatches.length;
  }

  /** @throws {RangeError} where memory that the dispatches work on has been freed. */
  requireLive(): void {
    for (const buffer of this.buffers) this.runtime.requireLive(buffer);
  }

  /** Frees the scratch memory. */
  destroy(): void {
    for (const buffer of this.scratch) this.runtime.destroyBuffer(buffer);
  }
}

/** Submits what `encode` puts into a command encoder. */
export function submitCommands(
  runtime: Runtime,
  encode: (encoder: GPUCommandEncoder) => void,
): void {
  const encoder = runtime.device.gpu.createCommandEncoder();
  encode(encoder);
  runtime.submit(encoder);
}

/** Elements that a window of a flat buffer is a multiple of: offsets of all tables stay aligned. */
const WINDOW_STEP = 4096;

/** Cuts `length` elements into windows that one binding holds. */
export function flatWindows(
  length: number,
  maxBindingBytes: number,
): { readonly start: number; readonly length: number }[] {
  const most = Math.max(1, Math.floor(maxBindingBytes / 4 / WINDOW_STEP)) * WINDOW_STEP;
  const windows: { start: number; length: number }[] = [];
  for (let start = 0; start < length; start += most) {
    windows.push({ start, length: Math.min(most, length - start) });
  }
  return windows;
}
