/** Hiera, the hierarchical vision transformer that is SAM-2's image trunk (Ryali et al., 2023). */
import {
  add,
  cat,
  checkpoint,
  interpolate,
  maxPool2d,
  permute,
  reshape,
  scaledDotProductAttention,
  select,
  slice,
  type Tensor,
  tile,
  windowPartition,
  windowUnpartition,
} from "../../engine/mod.ts";
import {
  Conv2d,
  filledWith,
  LayerNorm,
  Linear,
  MLP,
  Module,
  Parameter,
} from "../../engine/nn/mod.ts";
import type { HieraConfig } from "../config.ts";
import type { Trace } from "./trace.ts";

/** Side of the learned window embedding, which repeats over the map. */
const WINDOW_EMBED = 8;
const LAYER_NORM_EPS = 1e-6;
/** Hidden channels of the MLPs per channel. */
const MLP_RATIO = 4;
/** Elements that one f32 storage binding holds on every WebGPU adapter (128 MiB). */
const BINDING_ELEMENTS = 2 ** 25;
/** Queries and shortcuts are pooled by this at the first block of each later stage. */
const POOL = 2;

const toChannelsFirst = (x: Tensor) => permute(x, [0, 3, 1, 2]);
const toChannelsLast = (x: Tensor) => permute(x, [0, 2, 3, 1]);

/** Halves a map [B, H, W, C] by taking the largest of 2 x 2. */
const pool = (x: Tensor) => toChannelsLast(maxPool2d(toChannelsFirst(x), { kernel: POOL }));

/**
 * Applies a function of independent rows (dimension 0) in as many parts as it takes for an
 * intermediate of `width` elements a row to stay within a binding: that takes less memory than windows
 * of a whole one, and less time on software adapters.
 */
function inParts(x: Tensor, width: number, apply: (rows: Tensor) => Tensor): Tensor {
  const [rows] = x.shape;
  const parts = Math.min(rows, Math.ceil(rows * width / BINDING_ELEMENTS));
  if (parts <= 1) return apply(x);
  const bound = (part: number) => Math.floor(part * rows / parts);
  const results = Array.from(
    { length: parts },
    (_, part) => apply(slice(x, 0, bound(part), bound(part + 1))),
  );
  return cat(results, 0);
}

/** Sizes of one block. */
export interface BlockConfig {
  /** Channels of the input. */
  readonly dim: number;
  /** Channels of the output. */
  readonly dimOut: number;
  /** Attention heads. */
  readonly heads: number;
  /** Window side; 0 for attention to the whole map. */
  readonly window: number;
  /** Whether the map is halved. */
  readonly pooled: boolean;
}

/** Multi-head self-attention of a map or window, whose queries may be pooled. */
export class MultiScaleAttention extends Module {
  /** Makes queries, keys and values, [3 dimOut, dim]. */
  readonly qkv: Linear;
  /** Maps the attended values, [dimOut, dimOut]. */
  readonly proj: Linear;

  /** The attention of one block. */
  constructor(private readonly config: BlockConfig) {
    super();
    this.qkv = new Linear(config.dim, 3 * config.dimOut);
    this.proj = new Linear(config.dimOut, config.dimOut);
  }

  /** [B, H, W, dim] to [B, H, W, dimOut], or half of H and W where pooled. */
  forward(x: Tensor): Tensor {
    const { dimOut, heads, pooled } = this.config;
    const [batch, height, width] = x.shape;
    const qkv = reshape(this.qkv.forward(x), [batch, height, width, 3, dimOut]);
    const queries = select(qkv, 3, 0);
    const map = pooled ? pool(queries) : queries;
    const split = (t: Tensor) =>
      permute(reshape(t, [batch, -1, heads, dimOut / heads]), [0, 2, 1, 3]);
    const [k, v] = [split(select(qkv, 3, 1)), split(select(qkv, 3, 2))];
    const out = scaledDotProductAttention(split(map), k, v);
    return this.proj.forward(reshape(permute(out, [0, 2, 1, 3]), map.shape));
  }
}

/** A transformer block; the first of a stage also halves the map and doubles the channels. */
export class MultiScaleBlock extends Module {
  /** Normalises the input. */
  readonly norm1: LayerNorm;
  /** Attention within windows or over the whole map. */
  readonly attn: MultiScaleAttention;
  /** Normalises before the MLP. */
  readonly norm2: LayerNorm;
  /** Two layers at every position, GELU between. */
  readonly mlp: MLP;
  /** Widens the shortcut where the block widens. */
  readonly proj: Linear | undefined;

  /** One block. */
  constructor(private readonly config: BlockConfig) {
    super();
    const { dim, dimOut } = config;
    this.norm1 = new LayerNorm(dim, LAYER_NORM_EPS);
    this.attn = new MultiScaleAttention(config);
    this.norm2 = new LayerNorm(dimOut, LAYER_NORM_EPS);
    this.mlp = new MLP(dimOut, MLP_RATIO * dimOut, dimOut, 2, { activation: "gelu" });
    this.proj = dim === dimOut ? undefined : new Linear(dim, dimOut);
  }

  /** [B, H, W, dim] to [B, H', W', dimOut]. */
  forward(x: Tensor): Tensor {
    const normalised = this.norm1.forward(x);
    // The shortcut of a widening block starts from the normalised input.
    const widened = this.proj ? this.proj.forward(normalised) : x;
    const shortcut = this.config.pooled ? pool(widened) : widened;
    const attended = this.attend(normalised, [shortcut.shape[1], shortcut.shape[2]]);
    const y = add(shortcut, attended);
    const rows = reshape(this.norm2.forward(y), [-1, this.config.dimOut]);
    const hidden = inParts(rows, MLP_RATIO * this.config.dimOut, (part) => this.mlp.forward(part));
    return add(y, reshape(hidden, y.shape));
  }

  /** Attention window by window, [B, H, W, dim] to [B, height, width, dimOut]. */
  private attend(x: Tensor, [height, width]: [number, number]): Tensor {
    const { window, pooled, dimOut } = this.config;
    const within = (maps: Tensor) => {
      const tokens = maps.shape[1] * maps.shape[2];
      return inParts(maps, tokens * 3 * dimOut, (part) => this.attn.forward(part));
    };
    if (window === 0) return within(x);
    const out = within(windowPartition(x, window).windows);
    const side = pooled ? Math.floor(window / POOL) : window;
    const padded = [height, width].map((n) => Math.ceil(n / side) * side) as [number, number];
    return windowUnpartition(out, side, padded, [height, width]);
  }
}

/** Cuts the image into overlapping patches of stride 4. */
export class PatchEmbed extends Module {
  /** The convolution, 7 x 7. */
  readonly proj: Conv2d;

  /** Patches of `dim` channels. */
  constructor(dim: number) {
    super();
    this.proj = new Conv2d(3, dim, 7, { stride: 4, padding: 3 });
  }

  /** [B, 3, H, W] to [B, H / 4, W / 4, dim]. */
  forward(x: Tensor): Tensor {
    return toChannelsLast(this.proj.forward(x));
  }
}

/** Sizes of every block of a trunk. */
function blockConfigs(config: HieraConfig): BlockConfig[] {
  let [dim, heads] = [config.embedDim, config.numHeads];
  return config.stages.flatMap((count, stage) =>
    Array.from({ length: count }, (_, i) => {
      const first = stage > 0 && i === 0;
      const block = config.stages.slice(0, stage).reduce((a, b) => a + b, 0) + i;
      const dimOut = first ? 2 * dim : dim;
      if (first) heads *= 2;
      // The first block of a stage still uses the windows of the stage before.
      const window = config.windowSpec[first ? stage - 1 : stage];
      const global = config.globalAttBlocks.includes(block);
      const result = { dim, dimOut, heads, window: global ? 0 : window, pooled: first };
      dim = dimOut;
      return result;
    })
  );
}

/** The trunk: four stages of strides 4, 8, 16 and 32. */
export class Hiera extends Module {
  /** Position embedding of the map, [1, embedDim, height, width]. */
  readonly pos_embed: Parameter;
  /** Position embedding within a window, [1, embedDim, 8, 8]. */
  readonly pos_embed_window: Parameter;
  /** Cuts the image into patches. */
  readonly patch_embed: PatchEmbed;
  /** The blocks of all stages. */
  readonly blocks: readonly MultiScaleBlock[];
  /** Whether gradients compute the values inside blocks anew, which are then not kept for them. */
  checkpointing = false;

  /** Builds all stages; no parameter gets memory or values yet. */
  constructor(private readonly config: HieraConfig) {
    super();
    const { embedDim, posEmbedSize } = config;
    const window = [1, embedDim, WINDOW_EMBED, WINDOW_EMBED];
    this.pos_embed = new Parameter([1, embedDim, ...posEmbedSize], filledWith(0));
    this.pos_embed_window = new Parameter(window, filledWith(0));
    this.patch_embed = new PatchEmbed(embedDim);
    this.blocks = blockConfigs(config).map((block) => new MultiScaleBlock(block));
  }

  /** Channels of each stage, finest first. */
  get channels(): number[] {
    return this.config.stages.map((_, stage) => this.config.embedDim * 2 ** stage);
  }

  /**
   * Images [B, 3, H, W] to the output of each stage, [B, C, H / stride, W / stride], finest first.
   *
   * @throws {RangeError} where a side is not a multiple of 32.
   */
  forward(images: Tensor, trace?: Trace): Tensor[] {
    const [height, width] = images.shape.slice(2);
    if (height % 32 !== 0 || width % 32 !== 0) {
      throw new RangeError(`Hiera: ${height} x ${width} pixels are not multiples of 32.`);
    }
    const patches = this.patch_embed.forward(images);
    trace?.("patch_embed", patches);
    const positions = this.positions(patches.shape[1], patches.shape[2]);
    trace?.("pos_embed_interp", positions);
    let x = add(patches, positions);
    const outputs: Tensor[] = [];
    const ends = this.stageEnds();
    for (const [i, block] of this.blocks.entries()) {
      const forward = (input: Tensor) => block.forward(input);
      x = this.checkpointing ? checkpoint(forward, x) : forward(x);
      trace?.(`block.${i}`, x);
      if (ends.has(i)) outputs.push(toChannelsFirst(x));
    }
    outputs.forEach((output, stage) => trace?.(`stage.${stage}`, output));
    return outputs;
  }

  /** Index of the last block of each stage. */
  private stageEnds(): Set<number> {
    let end = -1;
    return new Set(this.config.stages.map((count) => end += count));
  }

  /** The embedding of the whole map plus that of the windows, [1, H, W, C]. */
  private positions(height: number, width: number): Tensor {
    const whole = interpolate(this.pos_embed, { size: [height, width], mode: "bicubic" });
    const repeats = [1, 1, height / WINDOW_EMBED, width / WINDOW_EMBED];
    return toChannelsLast(add(whole, tile(this.pos_embed_window, repeats)));
  }
}
