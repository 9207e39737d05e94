/**
 * Scaled dot-product attention, forward and backward, without the score matrix: keys are walked over
 * in blocks with an online softmax, and the gradient computes the scores again.
 */
import type { AdapterProfile } from "../engine/device.ts";
import { f32 } from "./literal.ts";
import { type Arg, grid1d, type Lowering, type Step, storage } from "./kernel.ts";
import { expand } from "./template.ts";
import deltaSource from "./attention_delta.wgsl" with { type: "text" };
import lanesSource from "./attention_lanes.wgsl" with { type: "text" };
import tilesSource from "./attention_tiles.wgsl" with { type: "text" };

/** Sizes and options of an attention: q [B, H, N, D], k and v [B, H, M, D]. */
export interface AttentionShape {
  readonly batch: number;
  readonly heads: number;
  readonly queries: number;
  readonly keys: number;
  readonly dim: number;
  readonly scale: number;
  /** Key j is visible to query i where j <= i. */
  readonly causal: boolean;
  /** Batch and heads (each 1 or in full) of the additive mask [., ., N, M], where there is one. */
  readonly mask?: readonly [number, number] | undefined;
}

type Pass = "forward" | "query" | "key";

/** What a pass binds, in order: names in the templates and arguments. */
type Binding = readonly [name: string, arg: Arg];

function declare(bindings: readonly Binding[], vector: boolean): string {
  const vectors = ["q_data", "k_data", "v_data", "out_data", "g_data", "dq_data", "dk_data"];
  return bindings.map(([name], i) =>
    storage(i, name, vector && (vectors.includes(name) || name === "dv_data") ? "vec4f" : "f32")
  ).join("\n");
}

/** Rows that a lane owns: no more than there are, and as many as fit in workgroup memory. */
function rowsOf(pass: Pass, shape: AttentionShape, profile: AdapterProfile): 1 | 2 | 4 {
  const owned = pass === "key" ? shape.keys : shape.queries;
  const sums = 4 * Math.ceil(shape.dim / 4) * profile.lanes * 4 * (pass === "key" ? 2 : 1);
  const wanted = Math.min(owned / profile.lanes, profile.workgroupBytes / sums);
  return wanted > 2 && 4 * sums <= profile.workgroupBytes
    ? 4
    : wanted > 1 && 2 * sums <= profile.workgroupBytes
    ? 2
    : 1;
}

function maskBase(shape: AttentionShape): string {
  const [batch, heads] = shape.mask ?? [1, 1];
  const b = batch > 1 ? `(head / ${shape.heads}u) * ${heads}u` : "0u";
  const h = heads > 1 ? `head % ${shape.heads}u` : "0u";
  return `(${b} + ${h}) * ${shape.queries * shape.keys}u`;
}

/** The template of an adapter, and how the owned rows are shared among workgroups. */
interface Schedule {
  readonly source: string;
  /** Owned rows of a workgroup. */
  readonly rows: number;
  /** Whether the template reads whole vec4 where the head dimension allows. */
  readonly vectors: boolean;
  readonly parameters: Record<string, number>;
}

function laneSchedule(pass: Pass, shape: AttentionShape, profile: AdapterProfile): Schedule {
  const OWN = rowsOf(pass, shape, profile);
  const LANES = profile.lanes;
  // With a mask, a block of 16 would take too many loads to compile quickly.
  const parameters = { OWN, LANES, BLOCK: shape.mask ? 8 : 16, GROUP: 4 };
  return { source: lanesSource, rows: LANES * OWN, vectors: true, parameters };
}

function tileSchedule(pass: Pass, shape: AttentionShape, profile: AdapterProfile): Schedule {
  const owned = pass === "key" ? shape.keys : shape.queries;
  const wide = shape.dim > 64 && owned > 32 && profile.class === "gpu" &&
    profile.maxInvocations >= 256 && profile.workgroupBytes >= 28 * 1024;
  const side = wide ? 16 : 8;
  return {
    source: tilesSource,
    rows: 4 * side,
    vectors: false,
    parameters: { TX: side, TY: side },
  };
}

function step(
  pass: Pass,
  shape: AttentionShape,
  bindings: readonly Binding[],
  profile: AdapterProfile,
  maskGradient = false,
): Step {
  const { queries: N, keys: M, dim: D } = shape;
  const lanes = profile.class === "cpu" && profile.lanes > 0;
  const schedule = (lanes ? laneSchedule : tileSchedule)(pass, shape, profile);
  const tiles = Math.ceil((pass === "key" ? M : N) / schedule.rows);
  const heads = shape.batch * shape.heads;
  const vector = schedule.vectors && D % 4 === 0;
  const grid = grid1d(tiles * heads, profile.maxGrid);
  const source = expand(schedule.source, {
    ...schedule.parameters,
    pass,
    N,
    M,
    D,
    tiles,
    heads,
    vector,
    maskGradient,
    gridX: grid[0],
    spill: grid[0] * grid[1] > tiles * heads,
    causal: shape.causal,
    masked: shape.mask !== undefined,
    maskBase: maskBase(shape),
    scale: f32(shape.scale),
    declarations: declare(bindings, vector),
  });
  const label = `attention ${pass} ${heads}x${N}x${M}x${D}`;
  return { kernel: { label, source, grid }, args: bindings.map(([, arg]) => arg) };
}

/**
 * in0: q, in1: k, in2: v, in3: the mask where there is one; out0: the result [B, H, N, D], out1: the
 * log-sum-exp of each row of scores [B, H, N]. A row whose keys are all masked gives zeros and -1e30.
 */
export function lowerAttention(shape: AttentionShape, profile: AdapterProfile): Lowering {
  const mask: Binding[] = shape.mask ? [["mask_data", "in3"]] : [];
  const bindings: Binding[] = [
    ["q_data", "in0"],
    ["k_data", "in1"],
    ["v_data", "in2"],
    ...mask,
    ["out_data", "out0"],
    ["lse_data", "out1"],
  ];
  return { steps: [step("forward", shape, bindings, profile)] };
}

function deltaStep(shape: AttentionShape, profile: AdapterProfile): Step {
  const rows = shape.batch * shape.heads * shape.queries;
  const vector = shape.dim % 4 === 0;
  const bindings: Binding[] = [["out_data", "in3"], ["g_data", "in5"], ["delta_data", "tmp0"]];
  const grid = grid1d(Math.ceil(rows / 64), profile.maxGrid);
  const declarations = declare(bindings, vector);
  const source = expand(deltaSource, { rows, D: shape.dim, vector, gridX: grid[0], declarations });
  const label = `attention delta ${rows}x${shape.dim}`;
  return { kernel: { label, source, grid }, args: bindings.map(([, arg]) => arg) };
}

/**
 * in0: q, in1: k, in2: v, in3: out, in4: log-sum-exp, in5: gradient of out, in6: the mask where there
 * is one; out0: dq, out1: dk, out2: dv, and out3: the gradient of the masked scores [B, H, N, M] where
 * `maskGradient` asks for it.
 */
export function lowerAttentionBackward(
  shape: AttentionShape,
  maskGradient: boolean,
  profile: AdapterProfile,
): Lowering {
  const inputs: Binding[] = [
    ["q_data", "in0"],
    ["k_data", "in1"],
    ["v_data", "in2"],
    ["lse_data", "in4"],
    ["g_data", "in5"],
    ["delta_data", "tmp0"],
    ...(shape.mask ? [["mask_data", "in6"] as const] : []),
  ];
  const toQuery: Binding[] = [...inputs, ["dq_data", "out0"]];
  if (maskGradient) toQuery.push(["ds_data", "out3"]);
  const toKey: Binding[] = [...inputs, ["dk_data", "out1"], ["dv_data", "out2"]];
  return {
    scratch: [shape.batch * shape.heads * shape.queries * 4],
    steps: [
      deltaStep(shape, profile),
      step("query", shape, toQuery, profile, maskGradient),
      step("key", shape, toKey, profile),
    ],
  };
}
