/** Large buffers of floats: written and read back in parts, so that staging memory stays small. */
import type { Runtime } from "../runtime.ts";

/** Elements that one staging buffer holds (64 MiB). */
const CHUNK = 16 * 2 ** 20;

/** Copies values to element `start` of a buffer. @throws {RangeError} where it has been freed. */
export function writeFloats(
  runtime: Runtime,
  buffer: GPUBuffer,
  start: number,
  data: Float32Array,
): void {
  const { queue } = runtime.device.gpu;
  for (let at = 0; at < data.length; at += CHUNK) {
    const part = data.subarray(at, at + CHUNK) as Float32Array<ArrayBuffer>;
    runtime.writeBuffer(buffer, (start + at) * 4, part);
    // A submission frees the queue's copy of what has been written.
    if (data.length > CHUNK) queue.submit([]);
  }
}

/** Reads `length` elements from element `start` of a buffer. @throws {RangeError} where it has been freed. */
export async function readFloats(
  runtime: Runtime,
  buffer: GPUBuffer,
  start: number,
  length: number,
): Promise<Float32Array<ArrayBuffer>> {
  const out = new Float32Array(length);
  const { gpu } = runtime.device;
  for (let at = 0; at < length; at += CHUNK) {
    const count = Math.min(CHUNK, length - at);
    runtime.requireLive(buffer);
    const staging = runtime.takeStaging(count * 4);
    const encoder = gpu.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, (start + at) * 4, staging, 0, count * 4);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ, 0, count * 4);
    out.set(new Float32Array(staging.getMappedRange(0, count * 4)), at);
    staging.unmap();
    runtime.releaseStaging(staging);
  }
  return out;
}
