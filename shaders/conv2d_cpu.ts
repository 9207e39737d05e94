/** Direct convolution on CPU adapters. */
import type { AdapterProfile } from "../engine/device.ts";
import {
  declareSizes,
  type Epilogue,
  IDENTITY,
  type Kernel,
  type Lowering,
  storage,
} from "./kernel.ts";
import { convLabel, type ConvShape, convSizes, rowLoads, u32 } from "./conv2d_shape.ts";
import { packedSize, packWeights } from "./conv2d_pack.ts";
import { bitsOfNumber, numbered, places, storeFunction } from "./matmul_store.ts";
import { division } from "./quotient.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import { measuredTile, shapeClassOf, TUNING } from "./tuning.ts";
import source from "./conv2d_cpu.wgsl" with { type: "text" };

/** Lanes of a workgroup where subgroups give no number. */
const PLAIN_LANES = 8;

/** Unrolled vec4 multiply-adds of a loop body. */
const LARGEST_BODY = 300;

const { load: LOAD, fma: FMA, filters: FILTERS, smallWork: SMALL_WORK } = TUNING.cpu;

/** Weights below this size stay in cache while the pixels pass. */
const CACHED_BYTES = 512 * 1024;

interface Tile {
  /** Filters that a lane computes, a multiple of 4. */
  readonly filters: number;
  /** Whether a turn of the loop does one row of the kernel instead of all. */
  readonly looped: boolean;
}

const nameOf = (filters: number) => `${filters} filters`;

function chooseTile(shape: ConvShape, profile: AdapterProfile): Tile {
  const { taps, groupFilters, groupChannels, outPixels } = convSizes(shape);
  const [kh, kw] = shape.kernel;
  const flops = 2 * shape.batch * shape.filters * groupChannels * taps * outPixels;
  const lanes = profile.lanes || 1;
  const quads = shape.batch * outPixels / 4 / (profile.lanes || PLAIN_LANES);
  const cost = (filters: number) => {
    const count = Math.ceil(groupFilters / filters);
    const input = kh * (3 * shape.stride[1] + kw) / 4 * LOAD;
    const weights = taps * filters / 4 / lanes * LOAD;
    // With fewer workgroups than this, cores idle at the end.
    const spread = Math.max(1, 6 / (count * shape.groups * quads));
    return count * spread * (input + weights + taps * filters * FMA);
  };
  const fitting = FILTERS.filter((filters) => filters === 4 || filters * kw <= LARGEST_BODY);
  const usual = fitting.filter((filters) => filters <= 8 || flops >= SMALL_WORK);
  const question = {
    label: convLabel("conv2d", shape),
    shapeClass: shapeClassOf(
      profile,
      "conv2d",
      [shape.batch, groupChannels, groupFilters, outPixels],
      `${kh}x${kw} stride ${shape.stride.join("x")} groups ${shape.groups}`,
    ),
  };
  const filters = measuredTile(question, fitting, nameOf, profile) ??
    usual.reduce((best, next) => cost(next) < cost(best) ? next : best);
  return { filters, looped: filters * taps > LARGEST_BODY };
}

/** Statements that store four pixels of filter `r`. */
const storeCode = (wide: boolean) => (r: string, value: string): string[] => {
  const [at, channel] = [`base + ${r} * outPixels`, `firstChannel + ${r}`];
  if (wide) return [`put(${at}, ${value}, ${channel});`];
  return [0, 1, 2, 3].map((i) =>
    `if (ox + ${i}u < outWidth) { put(${at} + ${i}u, ${value}[${i}], ${channel}); }`
  );
};

/** Where the weight of a tap and filter is after the loads `w<load>` of a turn. */
function weightCode(filters: number, sharing: number) {
  return (tap: number, filter: number): string => {
    const part = tap * filters / 4 + Math.floor(filter / 4);
    const component = "xyzw"[filter % 4];
    return sharing
      ? `subgroupBroadcast(w${Math.floor(part / sharing)}.${component}, ${part % sharing}u)`
      : `w${part}.${component}`;
  };
}

function convolve(
  shape: ConvShape,
  tile: Tile,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Kernel {
  const { groupFilters, groupChannels, taps, outHeight, outWidth, ...of } = convSizes(shape);
  const MR = tile.filters;
  const lanes = profile.lanes || PLAIN_LANES;
  const sharing = profile.lanes;
  const quadsOfRow = Math.ceil(outWidth / 4);
  const row = rowLoads(
    shape,
    "source",
    "width",
    sharing ? { lanes, whole: lanes % quadsOfRow === 0 } : undefined,
  );
  const quads = shape.batch * outHeight * quadsOfRow;
  const filterTiles = Math.ceil(groupFilters / MR);
  const [allFilterTiles, pixelTiles] = [filterTiles * shape.groups, Math.ceil(quads / lanes)];
  const filtersFirst = 4 * packedSize(shape, MR) <= CACHED_BYTES;
  const order = filtersFirst ? [allFilterTiles, pixelTiles] : [pixelTiles, allFilterTiles];
  const laid = places([order[0], order[1], 1], profile.maxGrid);
  const divided = division(quads);
  const turnTaps = tile.looped ? shape.kernel[1] : taps;
  const wide = outWidth % 4 === 0;
  const turnsOfChannel = tile.looped ? shape.kernel[0] : 1;
  const planeUnits = of.inPixels / row.unit;
  const grouped = shape.groups > 1;
  const sizes = {
    filtersFirst: Number(filtersFirst),
    ...{ quads, quadsOfRow, perRow: divided.size(quadsOfRow), perImage: divided.size(outHeight) },
    ...{ height: shape.height, width: shape.width, rowUnits: shape.width / row.unit, planeUnits },
    ...{ imageUnits: shape.channels * planeUnits, turns: groupChannels * turnsOfChannel },
    ...{ outHeight, outWidth, outPixels: of.outPixels, outImage: shape.filters * of.outPixels },
    ...{ groupFilters, packedStep: groupChannels * taps * MR / 4 },
    ...(grouped ? { filterTiles, groupUnits: groupChannels * planeUnits } : {}),
    ...laid.sizes,
  };
  const code = expand(source, {
    bindings: [
      storage(0, "source", row.unit === 4 ? "vec4f" : "f32"),
      storage(1, "weights", "vec4f"),
      storeFunction(epilogue, 2, wide ? 4 : 1, [
        { stride: of.outPixels, size: shape.filters, code: "channel" },
      ]),
      declareSizes(sizes),
      divided.declaration,
    ].join("\n"),
    L: lanes,
    MR,
    decode: laid.decode,
    divided: divided.of,
    grouped,
    kernel: shape.kernel,
    stride: shape.stride,
    padding: shape.padding,
    row,
    sharing,
    turnTaps,
    turnRows: tile.looped ? 1 : shape.kernel[0],
    looped: tile.looped,
    weightLoads: Math.ceil(turnTaps * MR / 4 / (sharing || 1)),
    weight: weightCode(MR, sharing),
    u32,
    bitsOfNumber,
    numbered,
    storeLoop: MR >= 8,
    // Of plain sums, more stores in a turn cost less to run, and little to compile.
    storeTurn: wide && epilogue === IDENTITY ? 4 : 1,
    stores: storeCode(wide),
  });
  const label = `${convLabel("conv2d", shape)} cpu ${nameOf(MR)}`;
  // Storing takes a round for each filter.
  requireRounds(label, sizes.turns + MR + 2, profile);
  return { label, source: code, grid: laid.grid, sizes };
}

/**
 * Packs the weights, then convolves: inputs `in0` and weights `in1`.
 *
 * @param turn see `Packing`.
 */
export function directConv2d(
  shape: ConvShape,
  turn: boolean,
  profile: AdapterProfile,
  epilogue: Epilogue,
): Lowering {
  const tile = chooseTile(shape, profile);
  const packing = { tileFilters: tile.filters, turn };
  return {
    scratch: [4 * packedSize(shape, tile.filters)],
    steps: [
      packWeights(shape, packing, "in1", "tmp0", profile),
      {
        kernel: convolve(shape, tile, profile, epilogue),
        args: ["in0", "tmp0", "out0", "epilogue"],
      },
    ],
  };
}
