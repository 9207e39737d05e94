/** A second device that compiles kernels for the first one, where compiling keeps one processor busy. */
import type { PlanStep } from "./compile/bindings.ts";
import { openDevice } from "./device.ts";
import { variable } from "./environment.ts";
import { Runtime } from "./runtime.ts";

/** New kernels of a plan from which a second device pays. */
const WORTHWHILE = 32;

/** Kernels that show whether the cache has the others. */
const PROBED = 6;

/**
 * Times as long as making its pipeline that a kernel takes which the cache has not: 19 to 40 were seen,
 * and 0.2 to 3 for those of the cache. Unlike a time, a ratio says the same on a busy machine.
 */
const COMPILED = 8;

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
  const cache = !/^(1|true|yes|y)$/i.test(variable("MESA_SHADER_CACHE_DISABLE") ?? "");
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
 * @param compiled times as long as making its pipeline from which a kernel seems not to be in the cache.
 * @returns how many kernels the second device takes on.
 */
export async function compileAhead(
  rt: Runtime,
  steps: readonly PlanStep[],
  compiled = COMPILED,
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
  for (const { kernel, bindings } of probed) second.pipelineOf(kernel, bindings.length);
  const made = performance.now();
  compile(second, probed, standIn);
  await device.gpu.queue.onSubmittedWorkDone();
  const missing = performance.now() - made > compiled * (made - start);
  if (missing) compile(second, last, standIn);
  device.gpu.queue.onSubmittedWorkDone().then(() => device.gpu.destroy());
  return missing ? last.length : 0;
}
