/** Plans made ready to run: their dispatches encoded, uploads written, results read back. */
import type { PlanStep, Ref } from "./compile/bindings.ts";
import type { Plan } from "./compile/plan.ts";
import { DTYPES, type TypedArray } from "./dtype.ts";
import type { Pass, Pipeline, Runtime } from "./runtime.ts";
import type { Storage, Tensor } from "./tensor.ts";

interface Bound {
  readonly label: string;
  readonly pipeline: Pipeline;
  readonly bindings: readonly Ref[];
  readonly grid: readonly [number, number, number];
  readonly outside: boolean;
  readonly sizes: GPUBindGroup | undefined;
  group: GPUBindGroup | undefined;
}

function dispatch(pass: Pass, { pipeline, sizes, grid }: Bound, group: GPUBindGroup): void {
  pass.setPipeline(pipeline.pipeline);
  pass.setBindGroup(0, group);
  if (sizes) pass.setBindGroup(1, sizes);
  pass.dispatchWorkgroups(...grid);
}

/** A plan with its pipelines, ready to run again and again. */
export class Executable {
  private readonly steps: Bound[];
  private arena: readonly GPUBuffer[];
  private readonly upload: GPUBuffer | undefined;
  private readonly staged: Uint8Array;
  private lastOutside: readonly Storage[] = [];
  /** The first dispatches of kernels that no plan has run before. */
  readonly fresh: readonly PlanStep[];
  /** Whether the adapter has been given the plan before, and had nothing against it. */
  proven = false;

  constructor(private readonly runtime: Runtime, readonly plan: Plan) {
    this.arena = runtime.arenaOf(plan);
    this.upload = plan.uploadBytes > 0 ? runtime.createBuffer(plan.uploadBytes) : undefined;
    this.staged = new Uint8Array(plan.uploadBytes);
    const fresh: PlanStep[] = [];
    const pipelineOf = (step: PlanStep) => {
      const pipeline = runtime.pipelineOf(step.kernel, step.bindings.length);
      if (!pipeline.taken) fresh.push(step);
      pipeline.taken = true;
      return pipeline;
    };
    this.fresh = fresh;
    this.steps = plan.steps.map((step) => ({
      label: step.kernel.label,
      pipeline: pipelineOf(step),
      bindings: step.bindings,
      grid: step.kernel.grid,
      outside: step.bindings.some((b) => b.kind === "leaf" || b.kind === "target"),
      sizes: step.kernel.sizes && runtime.sizes.groupOf(step.kernel.sizes),
      group: undefined,
    }));
  }

  private windowOf(
    ref: Ref,
    leaves: readonly Tensor[],
    targets: readonly Storage[],
  ): Storage & { bytes: number } {
    const { offset, bytes } = ref;
    if (ref.kind === "upload") return { buffer: this.upload!, offset, bytes };
    if (ref.kind === "arena") {
      const piece = Math.floor(offset / this.plan.pieceBytes);
      return { buffer: this.arena[piece], offset: offset - piece * this.plan.pieceBytes, bytes };
    }
    const outside = ref.kind === "target" ? targets[ref.target] : leaves[ref.leaf].storage!;
    return { buffer: outside.buffer, offset: outside.offset + offset, bytes };
  }

  private writeUploads(leaves: readonly Tensor[]): void {
    if (!this.upload) return;
    for (const { leaf, offset } of this.plan.uploads) {
      const host = leaves[leaf].host!;
      this.staged.set(new Uint8Array(host.buffer, host.byteOffset, host.byteLength), offset);
    }
    this.runtime.device.gpu.queue.writeBuffer(this.upload, 0, this.staged as BufferSource);
  }

  /** Takes over the arena that has replaced the one of the run before. */
  private followArena(): void {
    const arena = this.runtime.arenaOf(this.plan);
    if (arena === this.arena) return;
    this.arena = arena;
    for (const step of this.steps) step.group = undefined;
  }

  /** Frees what only this plan uses. */
  destroy(): void {
    if (this.upload) this.runtime.destroyBuffer(this.upload);
  }

  /** Label of the first kernel that the adapter refuses to run, encoded by itself. */
  async refused(): Promise<string | undefined> {
    const { gpu } = this.runtime.device;
    for (const step of this.steps) {
      if (!step.group) continue;
      gpu.pushErrorScope("validation");
      const encoder = gpu.createCommandEncoder();
      const pass = encoder.beginComputePass();
      dispatch(pass, step, step.group);
      pass.end();
      encoder.finish();
      if (await gpu.popErrorScope()) return step.label;
    }
    return undefined;
  }

  /** Encodes and submits the plan; the returned function waits for the values read back. */
  run(
    leaves: readonly Tensor[],
    targets: readonly Storage[],
    reads: readonly Tensor[],
  ): () => Promise<TypedArray[]> {
    const { runtime, plan } = this;
    for (const leaf of leaves) if (leaf.resident && !leaf.storage) runtime.makeResident(leaf);
    this.writeUploads(leaves);
    this.followArena();
    const outside = [...leaves.flatMap((l) => l.storage ?? []), ...targets];
    const moved = outside.length !== this.lastOutside.length ||
      outside.some((s, i) =>
        s.buffer !== this.lastOutside[i].buffer || s.offset !== this.lastOutside[i].offset
      );
    this.lastOutside = outside;
    const encoder = runtime.device.gpu.createCommandEncoder();
    const pass = runtime.beginPass(encoder, () => plan.steps.map(({ kernel }) => kernel.label));
    for (const step of this.steps) {
      if (!step.group || (moved && step.outside)) {
        const windows = step.bindings.map((ref) => this.windowOf(ref, leaves, targets));
        step.group = runtime.bindGroup(step.pipeline.layout, windows);
      }
      dispatch(pass, step, step.group);
    }
    pass.end();
    runtime.counters.dispatches += this.steps.length;
    return this.readBack(encoder, leaves, targets, reads);
  }

  /** Copies values to where they are wanted, over what has been read there. */
  private writeTargets(
    encoder: GPUCommandEncoder,
    leaves: readonly Tensor[],
    targets: readonly Storage[],
  ): void {
    for (const { from, target, bytes } of this.plan.copies) {
      const { buffer, offset } = this.windowOf(from, leaves, targets);
      const to = targets[target];
      encoder.copyBufferToBuffer(buffer, offset, to.buffer, to.offset, bytes);
    }
  }

  private readBack(
    encoder: GPUCommandEncoder,
    leaves: readonly Tensor[],
    targets: readonly Storage[],
    reads: readonly Tensor[],
  ): () => Promise<TypedArray[]> {
    const { runtime, plan } = this;
    const total = plan.results.reduce((n, ref) => n + ref.bytes, 0);
    const staging = total > 0 ? runtime.takeStaging(total) : undefined;
    let at = 0;
    const places = plan.results.map((ref) => {
      const { buffer, offset, bytes } = this.windowOf(ref, leaves, targets);
      encoder.copyBufferToBuffer(buffer, offset, staging!, at, bytes);
      return (at += bytes) - bytes;
    });
    this.writeTargets(encoder, leaves, targets);
    runtime.submit(encoder);
    if (!staging) return () => Promise.resolve([]);
    let values: Promise<TypedArray[]> | undefined;
    const readStaging = async () => {
      // Not before the values are asked for: on CPU adapters this call waits for the work itself.
      await runtime.explained(staging.mapAsync(GPUMapMode.READ, 0, total));
      if (runtime.failure) throw runtime.failure;
      const bytes = staging.getMappedRange(0, total);
      const copies = reads.map((t, i) => {
        const info = DTYPES[t.dtype];
        return info.array(bytes.slice(places[i], places[i] + t.size * info.bytes));
      });
      staging.unmap();
      runtime.releaseStaging(staging);
      return copies;
    };
    return () => values ??= readStaging();
  }
}
