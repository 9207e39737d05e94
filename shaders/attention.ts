/**
 * Scaled dot-product attention, forward and backward, without the score matrix: keys are walked over
 * in blocks with an online softmax, and the gradient computes the scores again.
 */
import type { AdapterProfile } from "../engine/device.ts";
import {
  type Arg,
  declareSizes,
  grid1d,
  type Lowering,
  type Sizes,
  type Step,
  storage,
} from "./kernel.ts";
import { bitsOf } from "./literal.ts";
import { MOST_ROUNDS, requireRounds } from "./rounds.ts";
import { expand, textOf } from "./template.ts";
import lanesSource from "./attention_lanes.wgsl" with { type: "text" };
import tilesSource from "./attention_tiles.wgsl" with { type: "text" };

/** Where rows lie: row n of head h of batch b begins at `first + b * batch + n * row + h * head`. */
export interface RowLayout {
  readonly first: number;
  readonly batch: number;
  readonly row: number;
  readonly head: number;
}

/** Sizes and options of an attention: q [B, N, H, D], k and v [B, M, H, D]. */
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
  /** Where the rows of q, k and v lie, if not one after another. */
  readonly layouts?: Readonly<Record<"q" | "k" | "v", RowLayout>> | undefined;
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

/** Room for the vectors of a row in the lane schedule: what is shorter shares a kernel. */
const LEAST_ROOM = 8;

/** Vectors of a row that the lane schedule's kernel has room for. */
const roomOf = ({ dim }: AttentionShape) =>
  Math.max(LEAST_ROOM, 2 ** Math.ceil(Math.log2(Math.ceil(dim / 4))));

/**
 * Products of an attention below which its time matters less than that of compiling kernels: all small
 * ones share those of short blocks and two rows a lane, which compile in a third of the time.
 */
const SMALL_WORK = 1e7;

/** Rows that short blocks walk over: a loop may not take too many rounds. */
const SMALL_LENGTH = 1024;

const isSmall = ({ batch, heads, queries, keys, dim }: AttentionShape) =>
  batch * heads * queries * keys * dim < SMALL_WORK && Math.max(queries, keys) <= SMALL_LENGTH;

/** Rows that a lane owns: no more than there are, and as many as fit in workgroup memory. */
function rowsOf(
  pass: Pass,
  shape: AttentionShape,
  profile: AdapterProfile,
  small: boolean,
): 1 | 2 | 4 {
  const owned = pass === "key" ? shape.keys : shape.queries;
  const sums = 4 * roomOf(shape) * profile.lanes * 4 * (pass === "key" ? 2 : 1);
  if (small) return 2 * sums <= profile.workgroupBytes ? 2 : 1;
  const wanted = Math.min(owned / profile.lanes, profile.workgroupBytes / sums);
  return wanted > 2 && 4 * sums <= profile.workgroupBytes
    ? 4
    : wanted > 1 && 2 * sums <= profile.workgroupBytes
    ? 2
    : 1;
}

/** Rows [B, length, H, D], one after another. */
function contiguous({ heads, dim }: AttentionShape, length: number): RowLayout {
  return { first: 0, batch: length * heads * dim, row: heads * dim, head: dim };
}

/** The layouts of the inputs, of what lies like a result (`query`), and like its gradient (`key`). */
function layoutsOf(shape: AttentionShape): Record<string, RowLayout> {
  const [query, key] = [contiguous(shape, shape.queries), contiguous(shape, shape.keys)];
  return { ...shape.layouts ?? { q: query, k: key, v: key }, query, key };
}

function sizesOf(shape: AttentionShape, pass: Pass, tiles: number, gridWidth: number, unit: 1 | 4) {
  const { queries, keys, dim, batch, heads } = shape;
  const read = pass === "key" ? ["q", "k", "v", "query", "key"] : ["q", "k", "v", "query"];
  const layouts = layoutsOf(shape);
  const rows = read.flatMap((name) =>
    Object.entries(layouts[name]).map(([key, value]) =>
      [`${name}${key[0].toUpperCase()}${key.slice(1)}`, value / unit] as const
    )
  );
  const [maskBatch, maskHeads] = shape.mask ?? [1, 1];
  const plane = queries * keys;
  return {
    ...{ gridWidth, tiles, batch, heads, queries, keys, dim, scale: bitsOf(shape.scale) },
    width: Math.ceil(dim / 4),
    maskBatch: maskBatch > 1 ? maskHeads * plane : 0,
    maskHead: maskHeads > 1 ? plane : 0,
    ...Object.fromEntries(rows),
  } satisfies Sizes;
}

/** The template of an adapter, and how the owned rows are shared among workgroups. */
interface Schedule {
  readonly source: string;
  /** Owned rows of a workgroup. */
  readonly rows: number;
  /** Whether the template reads whole vec4 where the head dimension allows. */
  readonly vectors: boolean;
  readonly parameters: Record<string, number | boolean>;
  /** Of an invocation's loops, at most. */
  readonly rounds: number;
}

/**
 * Operations of a forward pass from which a quarter of the time is worth 0.4 s of compiling: with SAM-2's
 * attentions above it, its plans have no more kernels than with all of them below.
 */
const LARGE_WORK = 6e7;

/** Rows of the other side that the lane schedule takes at once: they share the loads of a lane's own. */
function blockOf(
  { batch, heads, queries, keys, dim, mask }: AttentionShape,
  others: number,
  small: boolean,
): number {
  // With a mask, a block of 16 would take too many loads to compile quickly.
  if (mask || small) return 8;
  const large = 4 * batch * heads * queries * keys * dim >= LARGE_WORK;
  return large && others >= 32 ? 32 : 16;
}

function laneSchedule(
  pass: Pass,
  shape: AttentionShape,
  profile: AdapterProfile,
  small: boolean,
): Schedule {
  const OWN = rowsOf(pass, shape, profile, small);
  const LANES = profile.lanes;
  const ROOM = roomOf(shape);
  const others = pass === "key" ? shape.queries : shape.keys;
  const BLOCK = blockOf(shape, others, small);
  const width = Math.ceil(shape.dim / 4);
  // Loops over a row's vectors: those of each block, and those before and after all blocks.
  const [inner, outer] = { forward: [2, 1], query: [3, 2], key: [4, 2] }[pass];
  const roundsBy = (vectors: number) =>
    Math.ceil(others / BLOCK) * (inner * (width / vectors + 1) + 1) + outer * (width + 1) + 1;
  const divisors = Array.from({ length: width }, (_, i) => i + 1).filter((n) => width % n === 0);
  const VECTORS = divisors.find((n) => roundsBy(n) <= MOST_ROUNDS) ?? width;
  const ragged = small || others % BLOCK !== 0;
  const parameters = { OWN, LANES, BLOCK, ROOM, GROUP: 4, VECTORS, ragged };
  const rounds = roundsBy(VECTORS);
  return { source: lanesSource, rows: LANES * OWN, vectors: true, parameters, rounds };
}

function tileSchedule(pass: Pass, shape: AttentionShape, profile: AdapterProfile): Schedule {
  const owned = pass === "key" ? shape.keys : shape.queries;
  const wide = shape.dim > 64 && owned > 32 && profile.class === "gpu" &&
    profile.maxInvocations >= 256 && profile.workgroupBytes >= 28 * 1024;
  const side = wide ? 16 : 8;
  const others = pass === "key" ? shape.queries : shape.keys;
  const tile = 4 * side;
  const STEP = 16;
  const staged = 64 / side + 1;
  const dot = Math.ceil(shape.dim / STEP) * (2 * staged + STEP + 2) + 1;
  const sum = tile / STEP * (Math.ceil(shape.dim / tile) * (staged + STEP + 1) + 1) + 1;
  const [dots, sums] = { forward: [1, 1], query: [2, 1], key: [2, 2] }[pass];
  return {
    source: tilesSource,
    rows: tile,
    vectors: false,
    parameters: { TX: side, TY: side, D: shape.dim },
    rounds: Math.ceil(others / tile) * (dots * dot + sums * sum + 1) + shape.dim,
  };
}

function step(
  pass: Pass,
  shape: AttentionShape,
  bindings: readonly Binding[],
  profile: AdapterProfile,
  small: boolean,
  maskGradient = false,
): Step {
  const { queries: N, keys: M, dim: D } = shape;
  const lanes = profile.class === "cpu" && profile.lanes > 0;
  const schedule = lanes
    ? laneSchedule(pass, shape, profile, small)
    : tileSchedule(pass, shape, profile);
  const tiles = Math.ceil((pass === "key" ? M : N) / schedule.rows);
  const heads = shape.batch * shape.heads;
  const vector = schedule.vectors && D % 4 === 0 && vectorRows(shape);
  const grid = grid1d(tiles * heads, profile.maxGrid);
  const sizes = sizesOf(shape, pass, tiles, grid[0], vector ? 4 : 1);
  const parameters = {
    ...schedule.parameters,
    pass,
    vector,
    maskGradient,
    causal: shape.causal,
    masked: shape.mask !== undefined,
    declarations: declare(bindings, vector),
    sizes: declareSizes(sizes),
    stored: pass === "key" ? "key" : "query",
  };
  const source = textOf(
    `attention ${lanes} ${JSON.stringify(parameters)}`,
    () => expand(schedule.source, { ...parameters, layoutOf, base }),
  );
  const label = `attention ${pass} ${heads}x${N}x${M}x${D}`;
  requireRounds(label, schedule.rounds, profile);
  return { kernel: { label, source, grid, sizes }, args: bindings.map(([, arg]) => arg) };
}

/** Whether all rows begin at whole vec4s. */
function vectorRows({ layouts }: AttentionShape): boolean {
  const starts = Object.values(layouts ?? {}).flatMap((layout) => Object.values(layout));
  return starts.every((n) => n % 4 === 0);
}

/** The layout of a tensor's rows, as the sizes name it. */
const layoutOf = (name: string) => name === "g" ? "query" : name;

/** WGSL of where the rows of a tensor begin, for the head and batch at hand. */
function base(name: string): string {
  const rows = layoutOf(name);
  return `sizes.${rows}First + image * sizes.${rows}Batch + head * sizes.${rows}Head`;
}

/**
 * in0: q, in1: k, in2: v, in3: the mask where there is one; out0: the result [B, N, H, D], out1: the
 * log-sum-exp of each row of scores [B, H, N]. A row whose keys are all masked gives zeros and -1e30.
 *
 * @param small whether software adapters compute it by the kernels of small attentions.
 */
export function lowerAttention(
  shape: AttentionShape,
  profile: AdapterProfile,
  small = isSmall(shape),
): Lowering {
  const mask: Binding[] = shape.mask ? [["mask_data", "in3"]] : [];
  const bindings: Binding[] = [
    ["q_data", "in0"],
    ["k_data", "in1"],
    ["v_data", "in2"],
    ...mask,
    ["out_data", "out0"],
    ["lse_data", "out1"],
  ];
  return { steps: [step("forward", shape, bindings, profile, small)] };
}

/**
 * in0: q, in1: k, in2: v, in3: out, in4: log-sum-exp, in5: gradient of out, in6: the mask where there
 * is one; out0: dq, out1: dk, out2: dv, and out3: the gradient of the masked scores [B, H, N, M] where
 * `maskGradient` asks for it.
 *
 * @param small as for {@link lowerAttention}.
 */
export function lowerAttentionBackward(
  shape: AttentionShape,
  maskGradient: boolean,
  profile: AdapterProfile,
  small = isSmall(shape),
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
  // What both passes subtract from a row of scores, the first one computes.
  const toQuery: Binding[] = [...inputs, ["out_data", "in3"], ["dq_data", "out0"]];
  if (maskGradient) toQuery.push(["ds_data", "out3"]);
  const toKey: Binding[] = [...inputs, ["dk_data", "out1"], ["dv_data", "out2"]];
  return {
    scratch: [shape.batch * shape.heads * shape.queries * 4],
    steps: [
      step("query", shape, toQuery, profile, small, maskGradient),
      step("key", shape, toKey, profile, small),
    ],
  };
}
