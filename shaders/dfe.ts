/** Dual feature enhancement: the similarity of two feature maps, and their combination by it. */
import type { AdapterProfile } from "../engine/device.ts";
import {
  declareSizes,
  type Epilogue,
  grid1d,
  IDENTITY,
  type Kernel,
  type Lowering,
  storage,
} from "./kernel.ts";
import { bitsOf } from "./literal.ts";
import { requireRounds } from "./rounds.ts";
import { expand } from "./template.ts";
import backwardSource from "./dfe_combine_backward.wgsl" with { type: "text" };
import similaritySource from "./dfe_combine_similarity.wgsl" with { type: "text" };
import combineSource from "./dfe_combine.wgsl" with { type: "text" };
import cosineSource from "./dfe_cosine.wgsl" with { type: "text" };
import meansSource from "./dfe_means.wgsl" with { type: "text" };

/** Sizes of the maps [batch, channels, positions]. */
export interface DfeShape {
  readonly batch: number;
  readonly channels: number;
  readonly positions: number;
}

/** Smallest product of norms in the cosine. */
const COSINE_EPS = 1e-8;
/** Values (or vec4) that a workgroup of the similarity's gradient sums up at least. */
const SPAN = 1024;
const TEAM = 64;

/** Names of bindings; those in `whole` are vec4 arrays where T is. */
function declare(names: readonly string[], whole: readonly string[], T: string): string {
  return names.map((name, i) => storage(i, name, whole.includes(name) ? T : "f32")).join("\n");
}

/** A tree over a workgroup costs a CPU more the larger it is. */
const teamSize = (profile: AdapterProfile) => profile.class === "cpu" ? 8 : TEAM;

/**
 * in0: p, in1: q [B, C, positions]; out0: the cosine of their spatial means [B], out1: [B, 2, C], its
 * derivative with regard to every value of a channel of p, and of q.
 */
export function lowerDfeSimilarity(shape: DfeShape, profile: AdapterProfile): Lowering {
  const { batch, channels, positions } = shape;
  const V = positions % 4 === 0 ? 4 : 1;
  const T = V === 4 ? "vec4f" : "f32";
  const grid = grid1d(batch * channels, profile.maxGrid);
  const label = `dfeSimilarity ${batch}x${channels}x${positions}`;
  requireRounds(label, Math.ceil(positions / V / teamSize(profile)) + 1, profile);
  const inverse = bitsOf(1 / positions);
  const sizes = {
    gridWidth: grid[0],
    count: batch * channels,
    channels,
    length: positions / V,
    inverse,
  };
  const means: Kernel = {
    label: `${label}, means`,
    source: expand(meansSource, {
      ...{ T, V, TEAM: teamSize(profile), sizes: declareSizes(sizes) },
      declarations: declare(["p", "q", "means"], ["p", "q"], T),
    }),
    grid,
    sizes,
  };
  const cosineSizes = { channels, inverse };
  const cosine: Kernel = {
    label,
    source: expand(cosineSource, {
      ...{ TEAM, eps: COSINE_EPS, sizes: declareSizes(cosineSizes) },
      declarations: declare(["means", "out", "slopes"], [], T),
    }),
    grid: [batch, 1, 1],
    sizes: cosineSizes,
  };
  return {
    scratch: [batch * 2 * channels * 4],
    steps: [
      { kernel: means, args: ["in0", "in1", "tmp0"] },
      { kernel: cosine, args: ["tmp0", "out0", "out1"] },
    ],
  };
}

const MAPS = ["p", "q", "mappedP", "mappedQ", "g", "out", "dp", "dq", "dmappedP", "dmappedQ"];

function combineParameters(shape: DfeShape, profile: AdapterProfile) {
  const size = shape.channels * shape.positions;
  const V = size % 4 === 0 ? 4 : 1;
  const sample = size / V;
  const count = shape.batch * sample;
  const grid = grid1d(Math.ceil(count / 64), profile.maxGrid);
  const sizes = { gridWidth: grid[0], count, sample };
  return { text: { V, T: V === 4 ? "vec4f" : "f32", sizes: declareSizes(sizes) }, sizes, grid };
}

/**
 * in0: p, in1: q, in2: p mapped, in3: q mapped, in4: S [B]; out0: w * in2 + (1 - w) * in3 +
 * (1 - S) * (q - p) with w = sigmoid(S).
 */
export function lowerDfeCombine(
  shape: DfeShape,
  profile: AdapterProfile,
  epilogue: Epilogue = IDENTITY,
): Lowering {
  const { text, sizes, grid } = combineParameters(shape, profile);
  const names = ["p", "q", "mappedP", "mappedQ", "similarity", "out"];
  const source = expand(combineSource, {
    ...text,
    epilogue,
    declarations: declare(names, MAPS, text.T) + "\n" + epilogue.declarations(names.length),
  });
  const label = `dfeCombine ${shape.batch}x${shape.channels}x${shape.positions}`;
  return {
    steps: [{
      kernel: { label, source, grid, sizes },
      args: ["in0", "in1", "in2", "in3", "in4", "out0", "epilogue"],
    }],
  };
}

/**
 * in0..in4 as for {@link lowerDfeCombine}, in5: g; out0: gradient of p, out1: of q, out2: of p mapped,
 * out3: of q mapped, out4: of S [B].
 */
export function lowerDfeCombineBackward(shape: DfeShape, profile: AdapterProfile): Lowering {
  const { text, sizes, grid } = combineParameters(shape, profile);
  const { T } = text;
  const { sample } = sizes;
  const { batch } = shape;
  const spans = Math.min(64, Math.ceil(sample / SPAN));
  const label = `dfeCombineBackward ${batch}x${shape.channels}x${shape.positions}`;
  const maps: Kernel = {
    label,
    source: expand(backwardSource, {
      ...text,
      declarations: declare(
        ["similarity", "g", "dp", "dq", "dmappedP", "dmappedQ"],
        MAPS,
        T,
      ),
    }),
    grid,
    sizes,
  };
  const stageSizes = { batch, sample, spans, span: Math.ceil(sample / spans) };
  const stage = (last: boolean): Kernel => {
    const names = last
      ? ["sums", "ds"]
      : ["p", "q", "mappedP", "mappedQ", "similarity", "g", "sums"];
    return {
      label: `${label}, similarity${last ? ", last" : ""}`,
      source: expand(similaritySource, {
        ...text,
        ...{ last, TEAM: teamSize(profile), sizes: declareSizes(stageSizes) },
        declarations: declare(names, MAPS, T),
      }),
      grid: last ? [Math.ceil(batch / 64), 1, 1] : [spans, batch, 1],
      sizes: stageSizes,
    };
  };
  return {
    scratch: [batch * spans * 4],
    steps: [
      { kernel: maps, args: ["in4", "in5", "out0", "out1", "out2", "out3"] },
      { kernel: stage(false), args: ["in0", "in1", "in2", "in3", "in4", "in5", "tmp0"] },
      { kernel: stage(true), args: ["tmp0", "out4"] },
    ],
  };
}
