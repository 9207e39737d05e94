/** Conditions the features of a frame on memories and object pointers. */
import {
  add,
  axialRotary,
  checkpoint,
  expand,
  mul,
  relu,
  type RotaryTables,
  type Tensor,
} from "../../engine/mod.ts";
import { LayerNorm, Linear, Module, type Training } from "../../engine/nn/mod.ts";
import type { MemoryAttentionConfig } from "../config.ts";
import { Attention } from "./attention.ts";
import type { Trace } from "./trace.ts";

/** Share of the position encoding that is added to the features at the entry. */
const INPUT_POSITION_SCALE = 0.1;

/** Memory tokens; those of object pointers come last. */
export interface MemoryTokens {
  /** [B, M, memDim] */
  readonly memory: Tensor;
  /** Position encoding, [1 or B, M, memDim]. */
  readonly positions: Tensor;
  /** Tokens at the end that have no place in the image. */
  readonly pointerTokens: number;
}

/** What all layers share. */
export interface LayerContext extends MemoryTokens {
  /** Rotation angles of the grid. */
  readonly tables: RotaryTables;
  /** Given in training mode: then dropout acts. */
  readonly training: Training | undefined;
}

/** Self-attention, attention to memories, and an MLP; each is added to its input. */
export class MemoryAttentionLayer extends Module {
  /** Attention among the features. */
  readonly self_attn: Attention;
  /** Attention to the memories. */
  readonly cross_attn_image: Attention;
  /** First layer of the MLP. */
  readonly linear1: Linear;
  /** Second layer of the MLP. */
  readonly linear2: Linear;
  /** Normalises before the self-attention. */
  readonly norm1: LayerNorm;
  /** Normalises before the attention to memories. */
  readonly norm2: LayerNorm;
  /** Normalises before the MLP. */
  readonly norm3: LayerNorm;
  private readonly rate: number;

  /** One layer. */
  constructor(dim: number, memDim: number, { dimFeedforward, dropout }: MemoryAttentionConfig) {
    super();
    this.self_attn = new Attention({ dim, heads: 1, dropout });
    this.cross_attn_image = new Attention({ dim, heads: 1, kvDim: memDim, dropout });
    this.linear1 = new Linear(dim, dimFeedforward);
    this.linear2 = new Linear(dimFeedforward, dim);
    this.norm1 = new LayerNorm(dim);
    this.norm2 = new LayerNorm(dim);
    this.norm3 = new LayerNorm(dim);
    this.rate = dropout;
  }

  /** [B or 1, N, dim] to [B, N, dim]. */
  forward(x: Tensor, context: LayerContext): Tensor {
    const { memory, positions, pointerTokens, tables, training } = context;
    const drop = (t: Tensor) => training?.dropout(t, this.rate) ?? t;
    const own = this.norm1.forward(x);
    const rotary = { tables, excludedKeys: 0 };
    const attended = this.self_attn.forward(own, own, own, { rotary, training });
    let y = add(x, drop(attended));
    // Before the first look at memories a frame is the same for all objects.
    if (y.shape[0] !== memory.shape[0]) y = expand(y, [memory.shape[0], -1, -1]);
    const recalled = this.cross_attn_image.forward(
      this.norm2.forward(y),
      add(memory, positions),
      memory,
      { rotary: { tables, excludedKeys: pointerTokens }, training },
    );
    y = add(y, drop(recalled));
    const hidden = drop(relu(this.linear1.forward(this.norm3.forward(y))));
    return add(y, drop(this.linear2.forward(hidden)));
  }
}

/** Options of {@link MemoryAttention.forward}. */
export interface MemoryAttentionOptions {
  /** [height, width] of the feature grid; square where left out. */
  readonly grid?: readonly [number, number];
  /** Given in training mode: then dropout acts. */
  readonly training?: Training | undefined;
  /** Receives `freqs_cis.re`, `freqs_cis.im` and `layer0.out`, `layer1.out`, … */
  readonly trace?: Trace | undefined;
}

/** Rotation angles by width of attention, grid and base: they stay on the GPU. */
const rotaryTables = new Map<string, RotaryTables>();

/** A stack of self-attention and attention to the memory bank, with rotary positions. */
export class MemoryAttention extends Module {
  /** The layers, first to last. */
  readonly layers: readonly MemoryAttentionLayer[];
  /** Normalises the result. */
  readonly norm: LayerNorm;
  /** Whether gradients compute the values inside layers anew, which are then not kept for them. */
  checkpointing = false;

  /** Layers for features of `dim` channels and memories of `memDim`. */
  constructor(
    private readonly dim: number,
    memDim: number,
    private readonly config: MemoryAttentionConfig,
  ) {
    super();
    this.layers = Array.from(
      { length: config.numLayers },
      () => new MemoryAttentionLayer(dim, memDim, config),
    );
    this.norm = new LayerNorm(dim);
  }

  /**
   * The features in the light of the memories, [B, N, dim].
   *
   * @param features of the frame, [B, N, dim]; a batch of 1 serves all memories.
   * @param positions their position encoding, [1 or B, N, dim].
   */
  forward(
    features: Tensor,
    positions: Tensor,
    tokens: MemoryTokens,
    { grid, training, trace }: MemoryAttentionOptions = {},
  ): Tensor {
    const side = Math.sqrt(features.shape[1]);
    const [height, width] = grid ?? [side, side];
    if (height * width !== features.shape[1] || !Number.isInteger(height)) {
      throw new RangeError(
        `MemoryAttention: ${features.shape[1]} tokens are no ${height} x ${width} grid.`,
      );
    }
    const tables = this.rotaryTables(height, width);
    trace?.("freqs_cis.re", tables.cos);
    trace?.("freqs_cis.im", tables.sin);
    let x = add(features, mul(positions, INPUT_POSITION_SCALE));
    for (const [i, layer] of this.layers.entries()) {
      const forward = (input: Tensor) => layer.forward(input, { ...tokens, tables, training });
      x = this.checkpointing ? checkpoint(forward, x) : forward(x);
      trace?.(`layer${i}.out`, x);
    }
    return this.norm.forward(x);
  }

  /**
   * Rotation angles of a grid. Made once per grid: they are large, and the same for all layers, frames
   * and models.
   */
  rotaryTables(height: number, width: number): RotaryTables {
    const { ropeTheta } = this.config;
    const key = `${this.dim}: ${height}x${width}, ${ropeTheta}`;
    let found = rotaryTables.get(key);
    if (!found) rotaryTables.set(key, found = axialRotary(this.dim, width, height, ropeTheta));
    return found;
  }
}
