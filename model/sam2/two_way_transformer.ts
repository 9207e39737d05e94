/** The decoder's transformer: tokens and image attend to each other. */
import { add, type Tensor } from "../../engine/mod.ts";
import { LayerNorm, MLP, Module } from "../../engine/nn/mod.ts";
import { Attention } from "./attention.ts";

/** Cross attention works at half of the channels. */
const CROSS_DOWNSAMPLE = 2;

/** Sizes of the transformer. */
export interface TwoWayConfig {
  /** Channels of tokens and image. */
  readonly dim: number;
  /** Attention heads. */
  readonly heads: number;
  /** Hidden units of the MLPs. */
  readonly mlpDim: number;
}

/** Tokens [B, T, dim] and image positions [B, N, dim]. */
export interface Pair {
  /** Tokens, [B, T, dim]. */
  readonly queries: Tensor;
  /** Image positions, [B, N, dim]. */
  readonly keys: Tensor;
}

/** Attention among tokens, to the image and back. */
export class TwoWayAttentionBlock extends Module {
  /** Attention among the tokens. */
  readonly self_attn: Attention;
  /** Normalises the tokens after the self-attention. */
  readonly norm1: LayerNorm;
  /** Attention of the tokens to the image. */
  readonly cross_attn_token_to_image: Attention;
  /** Normalises the tokens after that. */
  readonly norm2: LayerNorm;
  /** Two layers on every token. */
  readonly mlp: MLP;
  /** Normalises the tokens after the MLP. */
  readonly norm3: LayerNorm;
  /** Normalises the image at the end. */
  readonly norm4: LayerNorm;
  /** Attention of the image to the tokens. */
  readonly cross_attn_image_to_token: Attention;

  /**
   * One block.
   *
   * @param first whether the tokens are still their own position encoding.
   */
  constructor({ dim, heads, mlpDim }: TwoWayConfig, private readonly first: boolean) {
    super();
    this.self_attn = new Attention({ dim, heads });
    this.norm1 = new LayerNorm(dim);
    this.cross_attn_token_to_image = crossAttention(dim, heads);
    this.norm2 = new LayerNorm(dim);
    this.mlp = new MLP(dim, mlpDim, dim, 2);
    this.norm3 = new LayerNorm(dim);
    this.norm4 = new LayerNorm(dim);
    this.cross_attn_image_to_token = crossAttention(dim, heads);
  }

  /** Tokens and image after the block, given the position encodings of both. */
  forward({ queries, keys }: Pair, positions: Pair): Pair {
    let q = queries;
    if (this.first) {
      q = this.self_attn.forward(q, q, q);
    } else {
      const placed = add(q, positions.queries);
      q = add(q, this.self_attn.forward(placed, placed, q));
    }
    q = this.norm1.forward(q);
    const placedKeys = add(keys, positions.keys);
    const seen = this.cross_attn_token_to_image.forward(
      add(q, positions.queries),
      placedKeys,
      keys,
    );
    q = this.norm2.forward(add(q, seen));
    q = this.norm3.forward(add(q, this.mlp.forward(q)));
    const told = this.cross_attn_image_to_token.forward(placedKeys, add(q, positions.queries), q);
    return { queries: q, keys: this.norm4.forward(add(keys, told)) };
  }
}

function crossAttention(dim: number, heads: number): Attention {
  return new Attention({ dim, heads, downsampleRate: CROSS_DOWNSAMPLE });
}

/** A stack of two-way blocks and a last look of the tokens at the image. */
export class TwoWayTransformer extends Module {
  /** The blocks, first to last. */
  readonly layers: readonly TwoWayAttentionBlock[];
  /** The last attention of the tokens to the image. */
  readonly final_attn_token_to_image: Attention;
  /** Normalises the tokens after it. */
  readonly norm_final_attn: LayerNorm;

  /** `depth` blocks. */
  constructor(depth: number, config: TwoWayConfig) {
    super();
    this.layers = Array.from(
      { length: depth },
      (_, i) => new TwoWayAttentionBlock(config, i === 0),
    );
    this.final_attn_token_to_image = crossAttention(config.dim, config.heads);
    this.norm_final_attn = new LayerNorm(config.dim);
  }

  /**
   * Lets tokens and image attend to each other.
   *
   * @param image [B, N, dim], the image embedding as tokens.
   * @param imagePositions [1 or B, N, dim].
   * @param tokens [B, T, dim]; they are their own position encoding.
   * @returns processed tokens (`queries`) and image (`keys`).
   */
  forward(image: Tensor, imagePositions: Tensor, tokens: Tensor): Pair {
    const positions = { queries: tokens, keys: imagePositions };
    let state: Pair = { queries: tokens, keys: image };
    for (const layer of this.layers) state = layer.forward(state, positions);
    const { queries, keys } = state;
    const placedKeys = add(keys, imagePositions);
    const seen = this.final_attn_token_to_image.forward(add(queries, tokens), placedKeys, keys);
    return { queries: this.norm_final_attn.forward(add(queries, seen)), keys };
  }
}
