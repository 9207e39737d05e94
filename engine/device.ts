/** The WebGPU device, its limits, and the adapter class that decides which kernel schedules run. */
import { setDefault, variable } from "./environment.ts";
import { UserError } from "./errors.ts";
import { tunedTiles } from "./tile_cache.ts";

/** Tiles that were measured to be the fastest on one adapter. */
export interface TileChoices {
  /**
   * The name of the tile for a class of shapes; `undefined` leaves the choice to the class of the
   * adapter.
   *
   * @param tiles names of those that there are.
   * @param label op and shape at hand.
   */
  tileOf(shapeClass: string, tiles: readonly string[], label: string): string | undefined;
}

/** What a kernel specialiser needs to know about the adapter. */
export interface AdapterProfile {
  /** Kernels for `cpu`, a software Vulkan driver such as llvmpipe, or for `gpu`, everything else. */
  readonly class: "cpu" | "gpu";
  /** Whether a software driver runs the kernels, of whichever class they are: it ends long loops. */
  readonly software: boolean;
  /** Subgroup size that every workgroup gets, or 0 where subgroup functions are refused. */
  readonly lanes: number;
  /** Largest number of invocations of one workgroup. */
  readonly maxInvocations: number;
  /** Bytes of workgroup memory. */
  readonly workgroupBytes: number;
  /** Storage buffers that one dispatch may bind. */
  readonly maxBindings: number;
  /** Largest bytes of one storage binding; larger tensors are bound in windows. */
  readonly maxBindingBytes: number;
  /** Workgroups per dispatch dimension. */
  readonly maxGrid: number;
  /** Whether kernels may store f16; without it, plans that hold tensors of f16 are refused. */
  readonly f16: boolean;
  /** Whether kernels reach vec4s in memory as words of 64 bits (`shaders/words.ts`). */
  readonly words?: boolean | undefined;
  /** Tiles that were measured on this very adapter; absent where none were. */
  readonly tiles?: TileChoices | undefined;
}

/** An opened device with its profile. */
export interface Device {
  /** The WebGPU device. */
  readonly gpu: GPUDevice;
  /** Description of the adapter, for reports and errors. */
  readonly name: string;
  /** What decides the kernel schedules. */
  readonly profile: AdapterProfile;
  /** Byte alignment of storage binding offsets. */
  readonly offsetAlignment: number;
}

/** Thrown where no WebGPU adapter is found. */
export class NoAdapterError extends UserError {
  /** Name of the class. */
  override name = "NoAdapterError";
}

const WANTED_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxStorageBuffersPerShaderStage",
  "minStorageBufferOffsetAlignment",
] as const;

const OPTIONAL_FEATURES: readonly GPUFeatureName[] = ["timestamp-query", "shader-f16"];

/** wgpu does not list these among the features of an adapter, but grants them when asked. */
const SUBGROUPS = "subgroups" as GPUFeatureName;
const WORDS = "wgpu-shader-int64" as GPUFeatureName;

/** A device with as many of the wanted features as the adapter grants. */
async function requestDevice(adapter: GPUAdapter, software: boolean): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of WANTED_LIMITS) requiredLimits[name] = adapter.limits[name];
  const optional = OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature));
  for (const unlisted of [...software ? [[SUBGROUPS, WORDS]] : [], [SUBGROUPS]]) {
    try {
      const requiredFeatures = [...optional, ...unlisted];
      return await adapter.requestDevice({ requiredFeatures, requiredLimits });
    } catch {
      // It is asked for less.
    }
  }
  return await adapter.requestDevice({ requiredFeatures: optional, requiredLimits });
}

/** Sets what the native drivers read from the environment, before the first of them is loaded. */
function prepareEnvironment(): void {
  // wgpu's OpenGL backend has no fixed-size subgroups, and would hide that Vulkan's driver is missing.
  setDefault("DENO_WEBGPU_BACKEND", "vulkan,metal,dx12");
  // Mesa prints two lines of complaint in each process where this is unset; nothing is written there.
  if (Deno.build.os === "linux") setDefault("XDG_RUNTIME_DIR", variable("TMPDIR") || "/tmp");
}

/** The best adapter of this machine, or `null`. Drivers are listed once a process. */
export async function findAdapter(): Promise<GPUAdapter | null> {
  prepareEnvironment();
  return await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" }) ?? null;
}

/**
 * The profile of an opened adapter, or the one whose schedules `schedule` names (`cpu`, `gpu`,
 * `cpu-nosubgroup`, `gpu-nosubgroup`): every schedule must be right on every adapter.
 */
export function profileFor(device: Device, schedule: string | undefined): AdapterProfile {
  if (!schedule) return device.profile;
  const [forced, flag] = schedule.split("-");
  if ((forced !== "cpu" && forced !== "gpu") || (flag && flag !== "nosubgroup")) {
    throw new Error(
      `The schedule "${schedule}" is unknown; it may be cpu, gpu, cpu-nosubgroup or gpu-nosubgroup.`,
    );
  }
  const { lanes, words } = device.profile;
  const plain = flag !== undefined;
  return {
    ...device.profile,
    class: forced,
    lanes: plain ? 0 : lanes,
    words: words && forced === "cpu" && !plain,
  };
}

/** @throws {UserError} where an adapter has no tensors of f16. */
export function requireF16({ name, profile }: Device): void {
  if (profile.f16) return;
  throw new UserError(
    `The adapter "${name}" does not offer shader-f16, so that it has no tensors of f16: use f32.`,
  );
}

/**
 * Opens the best adapter, with the schedules of `SSS_SCHEDULE` where that is set, and with the tiles
 * that were tuned on it unless `SSS_TUNING` is `off`.
 *
 * @throws {NoAdapterError} where WebGPU finds no adapter.
 */
export async function openDevice(
  schedule: string | undefined = variable("SSS_SCHEDULE"),
): Promise<Device> {
  const adapter = await findAdapter();
  if (!adapter) throw new NoAdapterError("No WebGPU adapter was found on this machine.");
  const info = adapter.info as GPUAdapterInfo & { isFallbackAdapter?: boolean };
  const size = info.subgroupMinSize ?? 0;
  const fixed = size > 0 && size === (info.subgroupMaxSize ?? 0);
  const software = info.isFallbackAdapter === true ||
    /llvmpipe|swiftshader/i.test(info.description);
  const gpu = await requestDevice(adapter, software);
  const name = info.description || info.vendor || "unnamed adapter";
  const own: Device = {
    gpu,
    name,
    offsetAlignment: gpu.limits.minStorageBufferOffsetAlignment,
    profile: {
      class: software ? "cpu" : "gpu",
      software,
      lanes: gpu.features.has(SUBGROUPS) && fixed ? size : 0,
      maxInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
      workgroupBytes: gpu.limits.maxComputeWorkgroupStorageSize,
      maxBindings: gpu.limits.maxStorageBuffersPerShaderStage,
      maxBindingBytes: gpu.limits.maxStorageBufferBindingSize,
      maxGrid: gpu.limits.maxComputeWorkgroupsPerDimension,
      f16: gpu.features.has("shader-f16"),
      words: software && gpu.features.has(WORDS),
      tiles: await tunedTiles(name),
    },
  };
  return { ...own, profile: profileFor(own, schedule) };
}

let shared: Promise<Device> | undefined;

/** The process-wide device, opened on first use. */
export function device(): Promise<Device> {
  return shared ??= openDevice();
}
