/** What the commands say about the adapter. */
import { device, runtime } from "../../engine/mod.ts";

/** The adapter that computes. */
export interface DeviceInfo {
  readonly adapter: string;
  /** `cpu` for a software driver. */
  readonly class: "cpu" | "gpu";
  /** Subgroup size that kernels rely on; 0 where they use none. */
  readonly lanes: number;
  /** Bytes of the largest buffer. */
  readonly max_buffer_bytes: number;
}

/** The adapter of this process. */
export async function deviceInfo(): Promise<DeviceInfo> {
  const { name, profile, gpu } = await device();
  return {
    adapter: name,
    class: profile.class,
    lanes: profile.lanes,
    max_buffer_bytes: gpu.limits.maxBufferSize,
  };
}

/** The same in words, for `--device-info`. */
export function describeDevice(info: DeviceInfo): string {
  const buffers = describeBytes(info.max_buffer_bytes);
  return `adapter: ${info.adapter}, class ${info.class}, ${info.lanes} lanes, buffers up to ${buffers}`;
}

/** Bytes of GPU memory in use. */
export async function gpuBytes(): Promise<number> {
  return (await runtime()).counters.liveBytes;
}

/** Bytes in a unit that is easy to read. */
export function describeBytes(bytes: number): string {
  const [unit, name] = bytes >= 2 ** 30 ? [2 ** 30, "GiB"] : [2 ** 20, "MiB"];
  return `${(bytes / unit).toFixed(1)} ${name}`;
}

/** Waits until the adapter has done all that was asked of it. */
export async function gpuIdle(): Promise<void> {
  await (await device()).gpu.queue.onSubmittedWorkDone();
}
