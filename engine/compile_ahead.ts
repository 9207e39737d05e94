/** A second device that compiles kernels for the first one, where compiling keeps one processor busy. */
import type { PlanStep } from "./compile/bindings.ts";
import { openDevice } from "./device.ts";
import { Runtime } from "./runtime.ts";

/** New kernels of a plan from which a second device pays. */
const WORTHWHILE = 32;

/** Kernels that show whether the cache has the others. */
const PROBED = 6;

/** Milliseconds that tell a kernel that is compiled, 57 on average, from one of the cache, 2. */
const COMPILED_MS = 20;

/** Of a plan's kernels, those that the first device comes to last. */
const SHARE = 2 / 3;

/** Bytes of the buffer that stands for all bindings: no kernel asks for more than a vec4. */
const STAND_IN_BYTES = 256;

/** Compiles kernels: a dispatch without workgroups asks the driver for that, and runs nothing. */
function compile(rt: Runtime, steps: readonly PlanStep[], standIn: GPUBuffer): void {
  const encoder = rt.device.gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (const { kernel, bindings } of steps) {
    const { pipeline, layout } = rt.pipelineOf(kernel, bindings.length);
    const windows = bindings.map(() => ({ buffer: standIn, offset: 0, bytes: STAND_IN_BYTES }));
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, rt.bindGroup(layout, windows));
    if (kernel.sizes) pass.setBindGroup(1, rt.sizes.groupOf(kernel.sizes));
    pass.dispatchWorkgroups(0, 0, 0);
  }
  pass.end();
  rt.submit(encoder);
}

/** Whether a second device can compile for this one. */
function shares({ device }: Runtime): boolean {
  const cache = !/^(1|true|yes|y)$/i.test(Deno.env.get("MESA_SHADER_CACHE_DISABLE") ?? "");
  return /llvmpipe/i.test(device.name) && cache && navigator.hardwareConcurrency > 1;
}

/**
 * Fills the driver's cache with kernels that `rt` is about to compile, unless they are there.
 *
 * Mesa's llvmpipe compiles a kernel at its first dispatch, in the one thread of the device's queue. What
 * any device has compiled lies in Mesa's cache on disk, where the others find it. So a second device
 * goes through a plan's new kernels from the end while the first one runs the plan, until they meet.
 *
 * @param steps the first dispatch of each kernel, in the order of the plan.
 * @param compiledMs milliseconds of a kernel from which the cache seems not to have it.
 * @returns how many kernels the second device takes on.
 */
export async function compileAhead(
  rt: Runtime,
  steps: readonly PlanStep[],
  compiledMs = COMPILED_MS,
): Promise<number> {
  if (steps.length < WORTHWHILE || !shares(rt)) return 0;
  // What a second device saves is time: where there is none, the first one does all by itself.
  const device = await openDevice().catch(() => undefined);
  if (!device) return 0;
  const second = new Runtime(device);
  const standIn = second.createBuffer(STAND_IN_BYTES);
  const last = steps.slice(Math.floor(steps.length * (1 - SHARE))).reverse();
  const probed = last.filter((_, i) => i % Math.ceil(last.length / PROBED) === 0);
  const start = performance.now();
  compile(second, probed, standIn);
  await device.gpu.queue.onSubmittedWorkDone();
  const missing = performance.now() - start > compiledMs * probed.length;
  if (missing) compile(second, last, standIn);
  device.gpu.queue.onSubmittedWorkDone().then(() => device.gpu.destroy());
  return missing ? last.length : 0;
}
