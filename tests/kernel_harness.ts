/** Runs a lowering on plain arrays, without the graph: what kernel tests stand on. */
import { type Device, openDevice } from "../engine/device.ts";
import { SizesPool } from "../engine/sizes_pool.ts";
import type { Arg, Lowering } from "../shaders/kernel.ts";
import { withWords } from "../shaders/words.ts";

/** Every schedule class that the same kernel tests run on. */
export const SCHEDULES = ["cpu", "cpu-nosubgroup", "gpu", "gpu-nosubgroup"] as const;

const devices = new Map<string, Promise<Device>>();

/** The device with the schedules of `name` forced. */
export function deviceFor(name: string): Promise<Device> {
  let found = devices.get(name);
  if (!found) devices.set(name, found = openDevice(name));
  return found;
}

type Data = Float32Array | Int32Array | Uint32Array;

/**
 * Runs `lowering`; returns the outputs, whose lengths (in 4-byte elements) are given: the companion's
 * is the last.
 */
export async function runLowering(
  device: Device,
  lowering: Lowering,
  inputs: readonly Data[],
  outputs: readonly number[],
  epilogueInputs: readonly Data[] = [],
): Promise<Float32Array[]> {
  const { gpu, profile } = device;
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const make = (bytes: number) => gpu.createBuffer({ size: Math.max(16, bytes), usage });
  // What a kernel reads before it writes it, or never writes, shows.
  const poisoned = (bytes: number) => {
    const buffer = make(bytes);
    gpu.queue.writeBuffer(buffer, 0, new Uint32Array(buffer.size / 4).fill(0x7fc00001));
    return buffer;
  };
  const upload = (data: Data) => {
    const buffer = make(data.byteLength);
    gpu.queue.writeBuffer(buffer, 0, data as BufferSource);
    return buffer;
  };
  const buffers: Record<string, GPUBuffer[]> = {
    in: inputs.map(upload),
    out: outputs.map((n) => poisoned(n * 4)),
    tmp: (lowering.scratch ?? []).map(poisoned),
    epilogue: epilogueInputs.map(upload),
  };
  const resolve = (arg: Arg): GPUBuffer[] =>
    arg === "epilogue"
      ? buffers.epilogue
      : arg === "companionEpilogue"
      ? []
      : arg === "companion"
      ? buffers.out.slice(-1)
      : [buffers[arg.replace(/\d+/, "")][Number(arg.match(/\d+/)![0])]];
  const pages: GPUBuffer[] = [];
  const sizes = new SizesPool(gpu, (size, usage) => {
    pages.push(gpu.createBuffer({ size, usage }));
    return pages[pages.length - 1];
  });
  gpu.pushErrorScope("validation");
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { kernel, args } of lowering.steps) {
    const code = profile.words ? withWords(kernel) : kernel.source;
    const module = gpu.createShaderModule({ code, label: kernel.label });
    const bound = args.flatMap(resolve);
    const layout = gpu.createBindGroupLayout({
      entries: bound.map((_, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "storage" },
      })),
    });
    const pipeline = gpu.createComputePipeline({
      layout: gpu.createPipelineLayout({
        bindGroupLayouts: kernel.sizes ? [layout, sizes.layout] : [layout],
      }),
      compute: { module, entryPoint: "main" },
    });
    const entries = bound.map((buffer, binding) => ({ binding, resource: { buffer } }));
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout, entries }));
    if (kernel.sizes) pass.setBindGroup(1, sizes.groupOf(kernel.sizes));
    pass.dispatchWorkgroups(...kernel.grid);
  }
  pass.end();
  const reads = buffers.out.map((buffer) => {
    const read = gpu.createBuffer({
      size: buffer.size,
      usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
    });
    encoder.copyBufferToBuffer(buffer, 0, read, 0, buffer.size);
    return read;
  });
  gpu.queue.submit([encoder.finish()]);
  const error = await gpu.popErrorScope();
  if (error) throw new Error(`${lowering.steps.map((s) => s.kernel.label)}: ${error.message}`);
  const results: Float32Array[] = [];
  for (const [i, read] of reads.entries()) {
    await read.mapAsync(GPUMapMode.READ);
    results.push(new Float32Array(read.getMappedRange().slice(0, outputs[i] * 4)));
    read.destroy();
  }
  for (const list of [pages, ...Object.values(buffers)]) for (const b of list) b.destroy();
  return results;
}
