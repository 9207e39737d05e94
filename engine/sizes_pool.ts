/** The uniform buffers of kernels' sizes: written once, shared by all kernels with equal sizes. */
import type { Sizes } from "../shaders/kernel.ts";

const PAGE_BYTES = 16384;

/** Hands out bind groups of sizes. Windows are never taken back: a kernel's shapes come again. */
export class SizesPool {
  /** Layout of every bind group of sizes. */
  readonly layout: GPUBindGroupLayout;
  private readonly groups = new Map<string, GPUBindGroup>();
  private page: GPUBuffer | undefined;
  private used = 0;

  /**
   * An empty pool.
   *
   * @param createBuffer makes a zero-filled buffer of given bytes and usage.
   */
  constructor(
    private readonly gpu: GPUDevice,
    private readonly createBuffer: (bytes: number, usage: number) => GPUBuffer,
  ) {
    this.layout = gpu.createBindGroupLayout({
      entries: [{
        binding: 0,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform" },
      }],
    });
  }

  /** The bind group whose buffer holds `sizes`. */
  groupOf(sizes: Sizes): GPUBindGroup {
    const values = Uint32Array.from(Object.values(sizes));
    const key = values.join();
    let group = this.groups.get(key);
    if (!group) this.groups.set(key, group = this.makeGroup(values));
    return group;
  }

  /** A bind group over a window that holds `values`. */
  private makeGroup(values: Uint32Array<ArrayBuffer>): GPUBindGroup {
    const size = Math.ceil(values.byteLength / 16) * 16;
    if (!this.page || this.used + size > this.page.size) {
      const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
      this.page = this.createBuffer(Math.max(PAGE_BYTES, size), usage);
      this.used = 0;
    }
    const offset = this.used;
    const alignment = this.gpu.limits.minUniformBufferOffsetAlignment;
    this.used += Math.ceil(size / alignment) * alignment;
    this.gpu.queue.writeBuffer(this.page, offset, values);
    const resource = { buffer: this.page, offset, size };
    return this.gpu.createBindGroup({ layout: this.layout, entries: [{ binding: 0, resource }] });
  }
}
