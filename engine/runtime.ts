/** The device at work: buffers, pipelines and bind groups, reused between runs, and what went wrong. */
import type { Kernel } from "../shaders/kernel.ts";
import { withWords } from "../shaders/words.ts";
import type { Device } from "./device.ts";
import { UserError } from "./errors.ts";
import {
  type ArenaSize,
  limitsOf,
  type MemoryLimits,
  type PlanMemory,
  requireMemory,
} from "./memory.ts";
import { SizesPool } from "./sizes_pool.ts";
import type { Storage, Tensor } from "./tensor.ts";

/** A compiled kernel. */
export interface Pipeline {
  /** The compiled shader. */
  readonly pipeline: GPUComputePipeline;
  /** Layout of the bind group of its storage buffers. */
  readonly layout: GPUBindGroupLayout;
  /** Whether a plan has taken it to run it. */
  taken: boolean;
}

/** What a device has done since it was opened. */
export interface Counters {
  /** Submissions to the queue. */
  submits: number;
  /** Dispatches of kernels. */
  dispatches: number;
  /** GPU buffers made, freed ones included. */
  buffersCreated: number;
  /** Bind groups of storage buffers made. */
  bindGroupsCreated: number;
  /** Bytes of GPU buffers that are alive. */
  liveBytes: number;
}

/** What encoding kernels asks of a compute pass. */
export interface Pass {
  /** Chooses the shader of the next dispatch. */
  setPipeline(pipeline: GPUComputePipeline): void;
  /** Binds buffers for the next dispatch: each one has its groups set. */
  setBindGroup(index: number, group: GPUBindGroup): void;
  /** Runs the shader on a grid of workgroups. */
  dispatchWorkgroups(x: number, y: number, z: number): void;
  /** Ends the pass. */
  end(): void;
}

/** Gets to know each pass and each submission of a device. */
export interface Watcher {
  /** Begins a pass with a dispatch for each label. */
  beginPass(encoder: GPUCommandEncoder, labels: readonly string[]): Pass;
  /** Called after each submission. */
  submitted(): void;
}

const USAGE = () => GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;

/** Buffers and pipelines of one device. */
export class Runtime {
  /** What has been done so far. */
  readonly counters: Counters = {
    submits: 0,
    dispatches: 0,
    buffersCreated: 0,
    bindGroupsCreated: 0,
    liveBytes: 0,
  };
  private readonly pipelines = new Map<string, Pipeline>();
  private readonly layouts = new Map<number, GPUBindGroupLayout>();
  private staging: GPUBuffer[] = [];
  /** Uniform buffers of kernels' sizes. */
  readonly sizes: SizesPool;
  private arena: readonly GPUBuffer[] = [];
  private readonly freed = new WeakSet<GPUBuffer>();

  /** What may be held; lower limits make the device refuse what it could hold. */
  limits: MemoryLimits;

  /** Who watches, if anybody. */
  watcher: Watcher | undefined;

  /** The first error that no scope caught, or the loss of the device: results are not to be trusted. */
  failure: Error | undefined;

  /** Watches the device for errors and for its loss. */
  constructor(readonly device: Device) {
    const { gpu } = device;
    this.limits = limitsOf(device);
    this.sizes = new SizesPool(gpu, (bytes, usage) => this.createBuffer(bytes, usage));
    gpu.addEventListener("uncapturederror", (event) => {
      this.failure ??= new Error(
        `WebGPU reports: ${(event as GPUUncapturedErrorEvent).error.message}`,
      );
    });
    gpu.lost.then(({ message }) => {
      this.failure ??= new UserError(`The GPU device "${device.name}" was lost: ${message}`);
    });
  }

  /**
   * A zero-filled storage buffer of at least `bytes`.
   *
   * @throws {MemoryError} where it exceeds the adapter's largest.
   */
  createBuffer(bytes: number, usage: number = USAGE()): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    if (size > this.limits.bufferBytes) requireMemory("The work", this.limits, 0, [size]);
    this.counters.buffersCreated++;
    this.counters.liveBytes += size;
    return this.device.gpu.createBuffer({ size, usage });
  }

  /** Frees a buffer at once; one that has been freed already stays so. */
  destroyBuffer(buffer: GPUBuffer): void {
    if (this.freed.has(buffer)) return;
    this.freed.add(buffer);
    this.counters.liveBytes -= buffer.size;
    buffer.destroy();
  }

  /**
   * Checks that a buffer has not been freed: an adapter that is given one fails for good, or crashes.
   *
   * @throws {RangeError} where it has.
   */
  requireLive(buffer: GPUBuffer): void {
    if (!this.freed.has(buffer)) return;
    throw new RangeError(
      "GPU memory that this needs has been freed: what held it was disposed of or destroyed.",
    );
  }

  /** Copies host data into a buffer. @throws {RangeError} where the buffer has been freed. */
  writeBuffer(buffer: GPUBuffer, offset: number, data: BufferSource): void {
    this.requireLive(buffer);
    this.device.gpu.queue.writeBuffer(buffer, offset, data);
  }

  /**
   * Checks that a plan's buffers can be made.
   *
   * @param kept bytes of new buffers for its results.
   * @throws {MemoryError} where they cannot.
   */
  requireRoom(plan: ArenaSize & { readonly memory: PlanMemory }, kept: number): void {
    const { uploads, readback } = plan.memory;
    const { missing, replaced } = this.arenaFor(plan);
    const freed = replaced.reduce((sum, { size }) => sum + size, 0);
    const live = this.counters.liveBytes + kept - freed;
    requireMemory("The work", this.limits, live, [...missing, uploads, readback]);
  }

  /** Pieces of the arena that serve a plan, others that it replaces, and bytes of new ones. */
  private arenaFor({ pieces }: ArenaSize): {
    serving: GPUBuffer[];
    replaced: GPUBuffer[];
    missing: number[];
  } {
    const small = pieces.findIndex((size, i) => (this.arena[i]?.size ?? 0) < size);
    const serving = small < 0 ? this.arena.length : small;
    return {
      serving: this.arena.slice(0, serving),
      replaced: this.arena.slice(serving),
      missing: pieces.slice(serving),
    };
  }

  /**
   * The arena that all plans share: plans never run at the same time. Where it is too small, larger
   * pieces replace what does not serve; what was submitted before still has those until it is done.
   */
  arenaOf(plan: ArenaSize): readonly GPUBuffer[] {
    const { serving, replaced, missing } = this.arenaFor(plan);
    if (missing.length === 0) return this.arena;
    for (const piece of replaced) this.destroyBuffer(piece);
    this.arena = serving;
    for (const bytes of missing) this.arena = [...this.arena, this.createBuffer(bytes)];
    return this.arena;
  }

  /** Bytes of the arena. */
  get arenaBytes(): number {
    return this.arena.reduce((sum, { size }) => sum + size, 0);
  }

  /** The layout of a bind group of storage buffers. */
  private layoutOf(bindings: number): GPUBindGroupLayout {
    let layout = this.layouts.get(bindings);
    if (!layout) {
      const entries = Array.from({ length: bindings }, (_, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "storage" as const },
      }));
      this.layouts.set(bindings, layout = this.device.gpu.createBindGroupLayout({ entries }));
    }
    return layout;
  }

  /** The pipeline of a kernel; equal sources with as many storage bindings share one. */
  pipelineOf(kernel: Kernel, bindings: number): Pipeline {
    const key = `${bindings}|${kernel.sizes ? "sizes" : ""}|${kernel.source}`;
    let found = this.pipelines.get(key);
    if (!found) {
      const { gpu, profile } = this.device;
      const layout = this.layoutOf(bindings);
      const code = profile.words ? withWords(kernel) : kernel.source;
      const module = gpu.createShaderModule({ code, label: kernel.label });
      const pipeline = gpu.createComputePipeline({
        label: kernel.label,
        layout: gpu.createPipelineLayout({
          bindGroupLayouts: kernel.sizes ? [layout, this.sizes.layout] : [layout],
        }),
        compute: { module, entryPoint: "main" },
      });
      this.pipelines.set(key, found = { pipeline, layout, taken: false });
    }
    return found;
  }

  /** Forgets the pipelines made after the first `count`: the adapter has refused one of them. */
  forgetPipelines(count: number): void {
    for (const key of [...this.pipelines.keys()].slice(count)) this.pipelines.delete(key);
  }

  /**
   * What `work` gives.
   *
   * @throws what is known to have gone wrong, in place of what adapters say of all that comes after.
   */
  async explained<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      // The loss of the device is told of once whoever waits has been told that his work failed.
      await new Promise((resolve) => setTimeout(resolve));
      throw this.failure ?? error;
    }
  }

  /** Number of pipelines compiled so far. */
  get pipelineCount(): number {
    return this.pipelines.size;
  }

  /** Begins a compute pass of dispatches that `labels` names, asked for only by a watcher. */
  beginPass(encoder: GPUCommandEncoder, labels: () => readonly string[]): Pass {
    return this.watcher?.beginPass(encoder, labels()) ?? encoder.beginComputePass();
  }

  /** Submits what was encoded. */
  submit(encoder: GPUCommandEncoder): void {
    this.device.gpu.queue.submit([encoder.finish()]);
    this.counters.submits++;
    this.watcher?.submitted();
  }

  /** A bind group over windows of buffers. */
  bindGroup(
    layout: GPUBindGroupLayout,
    windows: readonly (Storage & { bytes: number })[],
  ): GPUBindGroup {
    this.counters.bindGroupsCreated++;
    const entries = windows.map(({ buffer, offset, bytes }, binding) => ({
      binding,
      resource: { buffer, offset, size: bytes },
    }));
    return this.device.gpu.createBindGroup({ layout, entries });
  }

  /**
   * A buffer for reading back at least `bytes`; give it back with {@link releaseStaging}. A new one
   * replaces smaller ones in whose place it may serve: what is read may grow little by little.
   */
  takeStaging(bytes: number): GPUBuffer {
    const serves = (size: number, wanted: number) =>
      size >= wanted && size <= 4 * Math.max(wanted, 4096);
    const at = this.staging.findIndex(({ size }) => serves(size, bytes));
    if (at >= 0) return this.staging.splice(at, 1)[0];
    this.staging = this.staging.filter((idle) => {
      if (!serves(bytes, idle.size)) return true;
      this.destroyBuffer(idle);
      return false;
    });
    return this.createBuffer(bytes, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  }

  /** Takes a buffer of {@link takeStaging} back, to be used again. */
  releaseStaging(buffer: GPUBuffer): void {
    this.staging.push(buffer);
  }

  /** Puts host values of a never-changing leaf into GPU memory. */
  makeResident(leaf: Tensor): Storage {
    const host = leaf.host!;
    const buffer = this.createBuffer(host.byteLength);
    const bytes = new Uint8Array(host.buffer as ArrayBuffer, host.byteOffset, host.byteLength);
    const whole = bytes.length & ~3;
    this.writeBuffer(buffer, 0, bytes.subarray(0, whole));
    // Writes go by words: what is left of an odd number of f16 is filled up.
    if (whole < bytes.length) {
      this.writeBuffer(buffer, whole, Uint8Array.of(...bytes.subarray(whole), 0, 0));
    }
    return leaf.storage = { buffer, offset: 0 };
  }
}
