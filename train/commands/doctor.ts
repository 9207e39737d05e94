/** `deno task doctor`: what the engine found on this machine, and what it makes of it. */
import { canonicalise } from "../../engine/compile/graph.ts";
import { makePlan } from "../../engine/compile/plan.ts";
import { type Device, findAdapter, NoAdapterError, openDevice } from "../../engine/device.ts";
import {
  conv2d,
  layerNorm,
  matmul,
  numel,
  scaledDotProductAttention,
  type Shape,
  softmax,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import { heavyRules } from "../../engine/primitives.ts";
import { installedDrivers } from "../setup/driver.ts";
import { cli, parseOptions } from "./cli.ts";

/** PCI vendor numbers of GPU makers, and Khronos' number of Mesa's software drivers. */
const VENDORS: Readonly<Record<number, string>> = {
  0x1002: "AMD",
  0x106b: "Apple",
  0x10de: "NVIDIA",
  0x13b5: "Arm",
  0x1414: "Microsoft",
  0x5143: "Qualcomm",
  0x8086: "Intel",
  0x10005: "Mesa",
};

const CLASSES = {
  cpu: "cpu (a software driver: values are kept in registers and shared within subgroups)",
  gpu: "gpu (values are shared through workgroup memory)",
};

/** Limits that bound what the engine can do; bytes are shown as such. */
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "minStorageBufferOffsetAlignment",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
  "maxStorageBuffersPerShaderStage",
] as const;

/** Work of the sizes that a training step has: what is shown is what would run. */
const SAMPLES: readonly [what: string, build: () => Tensor][] = [
  ["matmul 1024³", () => matmul(zeros(1024, 1024), zeros(1024, 1024))],
  [
    "conv2d 3×3, 64→64, 128²",
    () => conv2d(zeros(1, 64, 128, 128), zeros(64, 64, 3, 3), undefined, { padding: 1 }),
  ],
  ["attention, 8 heads, 1024×32", () => {
    const x = zeros(1, 8, 1024, 32);
    return scaledDotProductAttention(x, x, x);
  }],
  ["softmax 4096×768", () => softmax(zeros(4096, 768), -1)],
  ["layerNorm 4096×96", () => layerNorm(zeros(4096, 96), zeros(96), zeros(96), 1e-6)],
];

function zeros(...shape: number[]): Tensor {
  return tensor(new Float32Array(numel(shape as Shape)), shape);
}

/** Prints the report. */
export async function run(args: string[]): Promise<number> {
  const program = cli("doctor", "Shows the adapter, its limits and the chosen schedules.");
  if (!parseOptions(program, args)) return 0;
  const adapter = await findAdapter();
  if (!adapter) throw new NoAdapterError("No WebGPU adapter was found on this machine.");
  const device = await openDevice();
  section("Adapter", await describeAdapter(adapter, device));
  section("Limits", LIMITS.map((name) => [name, quantity(name, device.gpu.limits[name])]));
  section("Schedules", SAMPLES.map(([what, build]) => [what, schedules(build(), device)]));
  device.gpu.destroy();
  return 0;
}

async function describeAdapter(adapter: GPUAdapter, device: Device): Promise<[string, string][]> {
  const { info } = adapter;
  const { profile } = device;
  const number = Number(info.vendor);
  const vendor = `${VENDORS[number] ?? "unknown"} (0x${number.toString(16)})`;
  const drivers = await installedDrivers();
  return [
    ["name", device.name],
    ["vendor", vendor],
    ...(drivers.length > 0 ? [["drivers", drivers.join(", ")] as [string, string]] : []),
    ["class", CLASSES[profile.class]],
    [
      "lanes",
      profile.lanes > 0 ? String(profile.lanes) : "0 (no subgroup functions of fixed size)",
    ],
    ["features", [...device.gpu.features].sort().join(", ") || "none"],
    [
      "offered, unused",
      [...adapter.features].filter((f) => !device.gpu.features.has(f)).join(", "),
    ],
    ["Deno", Deno.version.deno],
  ];
}

function schedules(result: Tensor, device: Device): string {
  const graph = canonicalise([result]);
  const { profile, offsetAlignment: alignment } = device;
  const { steps } = makePlan({ graph, reads: 1, profile, alignment, rules: heavyRules });
  return steps.map(({ kernel }) => `${kernel.label} [${kernel.grid.join(", ")}]`).join("; ");
}

function quantity(name: string, value: number): string {
  if (!/Size$|Alignment$/.test(name)) return value.toLocaleString("en");
  const power = Math.min(Math.floor(Math.log2(value) / 10), 3);
  const scaled = Number((value / 2 ** (10 * power)).toFixed(2));
  return `${scaled} ${["bytes", "KiB", "MiB", "GiB"][power]}`;
}

function section(title: string, rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([key]) => key.length));
  console.log(`${title}\n${rows.map(([k, v]) => `  ${k.padEnd(width)}  ${v}`).join("\n")}\n`);
}
