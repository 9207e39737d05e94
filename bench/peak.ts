/** What the adapter reaches at best: arithmetic in registers alone, and copying of memory. */
import type { AdapterProfile, Runtime } from "../engine/mod.ts";
import { grid1d, type Kernel, storage } from "../shaders/kernel.ts";
import type { Sample, Timed } from "./clock.ts";
import { noise, Replay } from "./replay.ts";

/** Rates that bound every kernel. */
export interface Peaks {
  /** Floating-point operations, 10^9 a second. */
  readonly gflops: number;
  /** Bytes read and written, 10^9 a second. */
  readonly gbps: number;
}

/** vec4 accumulators: enough chains to hide the latency of an addition, few enough for 16 registers. */
const ACCUMULATORS = 3;
/** Multiply-adds of each accumulator in one iteration. */
const UNROLLED = 32;
/** Runs of some milliseconds, and more copied bytes than caches hold. */
const WORK = {
  cpu: { workgroup: 8, groups: 256, iterations: 400, copied: 2 ** 26 },
  gpu: { workgroup: 256, groups: 8192, iterations: 200, copied: 2 ** 28 },
};

/** A kernel that only multiplies and adds in registers, and its floating-point operations. */
function arithmetic(profile: AdapterProfile): { kernel: Kernel; flops: number; results: number } {
  const { workgroup, groups, iterations } = WORK[profile.class];
  const names = Array.from({ length: ACCUMULATORS }, (_, i) => `a${i}`);
  const step = names.map((a) => `${a} = fma(${a}, factor, addend);`).join(" ");
  const source = `${storage(0, "result", "vec4f")}
@compute @workgroup_size(${workgroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = vec4f(0.999 + f32(id.x) * 1e-9);
  let addend = vec4f(f32(id.x) * 1e-3);
  ${names.map((a, i) => `var ${a} = vec4f(f32(id.x + ${i}u));`).join(" ")}
  for (var i = 0u; i < ${iterations}u; i++) {
    ${Array<string>(UNROLLED).fill(step).join("\n    ")}
  }
  result[id.x] = ${names.join(" + ")};
}
`;
  const threads = workgroup * groups;
  return {
    kernel: { label: "peak arithmetic", source, grid: [groups, 1, 1] },
    flops: 2 * 4 * ACCUMULATORS * UNROLLED * iterations * threads,
    results: threads,
  };
}

function copy(bytes: number, maxGrid: number): Kernel {
  const vectors = bytes / 16;
  const source = `${storage(0, "source", "vec4f")}
${storage(1, "result", "vec4f")}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < ${vectors}u) { result[i] = source[i]; }
}
`;
  return { label: "peak copy", source, grid: grid1d(Math.ceil(vectors / 64), maxGrid) };
}

/** The two measurements, to be timed among the others, and what their times mean. */
export interface PeakWorks {
  readonly works: readonly [arithmetic: Timed, copy: Timed];
  /** @param times of the works, in their order. */
  peaks(times: readonly Sample[]): Peaks;
  destroy(): void;
}

/** Prepares both measurements. */
export function peakWorks(runtime: Runtime, profile: AdapterProfile): PeakWorks {
  const { kernel, flops, results } = arithmetic(profile);
  const bytes = Math.min(WORK[profile.class].copied, profile.maxBindingBytes);
  const buffers = [results * 16, bytes, bytes].map((size) => runtime.createBuffer(size));
  // Memory that was never written may all be one page.
  const part = noise(2 ** 20);
  for (let at = 0; at + part.byteLength <= bytes; at += part.byteLength) {
    runtime.device.gpu.queue.writeBuffer(buffers[1], at, part);
  }
  const [result, from, to] = buffers.map((buffer) => ({ buffer, offset: 0, bytes: buffer.size }));
  return {
    works: [
      new Replay(runtime, [{ kernel, windows: [result] }]),
      new Replay(runtime, [{ kernel: copy(bytes, profile.maxGrid), windows: [from, to] }]),
    ],
    peaks: ([math, copying]) => ({
      gflops: flops / math.ms / 1e6,
      gbps: 2 * bytes / copying.ms / 1e6,
    }),
    destroy: () => buffers.forEach((buffer) => runtime.destroyBuffer(buffer)),
  };
}

/** Least time in milliseconds that the peaks allow for work of so many operations and bytes. */
export function boundMs({ flops, bytes }: { flops: number; bytes: number }, peaks: Peaks): number {
  return Math.max(flops / peaks.gflops, bytes / peaks.gbps) / 1e6;
}
