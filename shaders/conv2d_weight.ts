/** Gradient of convolution weights, directly from the input and the output's gradient. */
import type { AdapterProfile } from "../engine/device.ts";
import { declareSizes, type Epilogue, IDENTITY, type Lowering, storage } from "./kernel.ts";
import {
  convLabel,
  type ConvShape,
  convSizes,
  isDepthwise,
  rowLoads,
  u32,
} from "./conv2d_shape.ts";
import { sumParts } from "./matmul_product.ts";
import { bitsOfNumber, numbered, places, storeFunction } from "./matmul_store.ts";
import { division } from "./quotient.ts";
import { MOST_ROUNDS } from "./rounds.ts";
import { expand } from "./template.ts";
import source from "./conv2d_weight.wgsl" with { type: "text" };

/** Workgroups that keep an adapter busy, and the output pixels and operations that are worth one. */
const ENOUGH_WORKGROUPS = { cpu: 12, gpu: 256 };
const LEAST_PIXELS = 1024;
const LEAST_WORK = { cpu: 1e6, gpu: 1e5 };

/** Accumulators of a lane. */
const MOST_ACCUMULATORS = 64;

function filtersOfTile(shape: ConvShape, sharing: number): number {
  const { groupFilters } = convSizes(shape);
  const most = sharing ? 16 : 8;
  const fitting = [16, 8, 4, 2, 1].filter((filters) =>
    filters <= most && (filters === 1 || filters * shape.kernel[1] <= MOST_ACCUMULATORS)
  );
  return fitting.find((filters) => filters <= groupFilters) ?? 1;
}

/** Loads of the output's gradient: `g<load>`, and where the value of a filter and pixel is. */
function gradientCode(shape: ConvShape, filters: number, sharing: number) {
  const { outWidth } = convSizes(shape);
  const unit = outWidth % 4 === 0 ? 4 : 1;
  const across = sharing || 1;
  return {
    gradientUnit: unit,
    gradientLoads: Math.ceil(filters / across),
    gradientLoad: (load: number) => {
      const at = `gradients + ${load * across}u * outUnits + ox`;
      if (unit === 4) return `gradient[${at} / 4u]`;
      const pixels = [0, 1, 2, 3].map((i) =>
        `select(0.0, gradient[${at} + ${i}u], ox + ${i}u < outWidth)`
      );
      return `vec4f(${pixels.join(", ")})`;
    },
    gradient: (filter: number, i: number) => {
      const name = `g${Math.floor(filter / across)}.${"xyzw"[i]}`;
      return sharing ? `subgroupBroadcast(${name}, ${filter % across}u)` : name;
    },
  };
}

/** How the work is laid out on workgroups and lanes. */
function layOut(shape: ConvShape, profile: AdapterProfile) {
  const { groupFilters, groupChannels, taps, outHeight, outWidth } = convSizes(shape);
  const depthwise = isDepthwise(shape);
  // Depthwise, each lane has a gradient row of its own, and lanes span the channels.
  const sharing = depthwise || profile.class === "gpu" ? 0 : profile.lanes;
  const L = profile.class === "gpu" ? 64 : profile.lanes || 8;
  const MR = filtersOfTile(shape, sharing);
  const sections = depthwise ? 1 : shape.groups;
  const laneCount = (depthwise ? shape.channels : groupChannels) * shape.kernel[0];
  const laneTiles = Math.ceil(laneCount / L);
  const filterTiles = Math.ceil(groupFilters / MR);
  const tilesOfPart = laneTiles * filterTiles * sections;
  const lines = shape.batch * outHeight;
  const size = shape.filters * groupChannels * taps;
  const wanted = Math.min(
    Math.ceil(ENOUGH_WORKGROUPS[profile.class] / tilesOfPart),
    Math.floor(lines * outWidth / LEAST_PIXELS),
    Math.floor(2 * lines * outWidth * size / LEAST_WORK[profile.class]),
    Math.floor(profile.maxBindingBytes / (4 * size)),
  );
  const rounds = Math.ceil(outWidth / 4) + 2;
  // Storing takes a round for each filter.
  const left = MOST_ROUNDS - MR - 1;
  const most = profile.software ? Math.floor(left / rounds) : lines;
  const linesOfPart = Math.max(1, Math.min(most, Math.ceil(lines / Math.max(1, wanted))));
  const parts = Math.ceil(lines / linesOfPart);
  return {
    ...{ depthwise, sharing, L, MR, sections, laneCount, laneTiles, filterTiles, tilesOfPart },
    ...{ lines, linesOfPart, parts, size },
  };
}

/** The gradient of the weights: inputs `in0` (the convolution's input) and `in1` (g). */
export function directConv2dWeight(
  shape: ConvShape,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const layout = layOut(shape, profile);
  const { parts, size, laneTiles, filterTiles, sections, lines } = layout;
  const row = rowLoads(shape, "source", "width");
  const laid = places([laneTiles, filterTiles * sections, parts], profile.maxGrid);
  const divided = division(lines);
  const label = convLabel("conv2d weight gradient", shape);
  const gradients = gradientCode(shape, layout.MR, layout.sharing);
  const of = convSizes(shape);
  const planeUnits = of.inPixels / row.unit;
  const sizes = {
    ...{ laneCount: layout.laneCount, lines, linesOfPart: layout.linesOfPart, size },
    ...{ outHeight: of.outHeight, outWidth: of.outWidth, perImage: divided.size(of.outHeight) },
    ...{ height: shape.height, width: shape.width, rowUnits: shape.width / row.unit, planeUnits },
    ...{ imageUnits: shape.channels * planeUnits, outUnits: of.outPixels / gradients.gradientUnit },
    ...{
      filters: shape.filters,
      groupFilters: of.groupFilters,
      filterSize: of.groupChannels * of.taps,
    },
    ...(sections > 1 ? { filterTiles, groupChannels: of.groupChannels } : {}),
    ...laid.sizes,
  };
  const code = expand(source, {
    bindings: [
      storage(0, "source", row.unit === 4 ? "vec4f" : "f32"),
      storage(1, "gradient", gradients.gradientUnit === 4 ? "vec4f" : "f32"),
      storeFunction(parts === 1 ? epilogue : IDENTITY, 2, 1),
      declareSizes(sizes),
      divided.declaration,
    ].join("\n"),
    ...gradients,
    depthwise: layout.depthwise,
    sharing: layout.sharing,
    L: layout.L,
    MR: layout.MR,
    grouped: sections > 1,
    decode: laid.decode,
    divided: divided.of,
    kernel: shape.kernel,
    stride: shape.stride,
    padding: shape.padding,
    row,
    u32,
    bitsOfNumber,
    numbered,
  });
  const kernel = { label, source: code, grid: laid.grid, sizes };
  if (parts === 1) return { steps: [{ kernel, args: ["in0", "in1", "out0", "epilogue"] }] };
  return {
    scratch: [4 * size * parts],
    steps: [
      { kernel, args: ["in0", "in1", "tmp0"] },
      sumParts({ label, partial: "tmp0", out: "out0", terms: parts, size }, profile, epilogue),
    ],
  };
}
