/** Multi-head attention with projections, as the SAM transformers use it. */
import {
  applyRotary,
  matmul,
  mul,
  permute,
  reshape,
  type RotaryTables,
  scaledDotProductAttention,
  softmax,
  type Tensor,
} from "../../engine/mod.ts";
import { Linear, Module, type Training } from "../../engine/nn/mod.ts";

/** Sizes of an {@link Attention}. */
export interface AttentionConfig {
  /** Channels of queries and of the result. */
  readonly dim: number;
  /** Heads, which share the inner channels evenly. */
  readonly heads: number;
  /** Channels inside are `dim / downsampleRate`. */
  readonly downsampleRate?: number;
  /** Channels of keys and values, `dim` where left out. */
  readonly kvDim?: number;
  /** Rate for attention weights in training mode. */
  readonly dropout?: number;
}

/** Options of {@link Attention.forward}. */
export interface AttentionOptions {
  /** Rotates queries and keys by their place on the grid, except the last `excludedKeys` keys. */
  readonly rotary?: { readonly tables: RotaryTables; readonly excludedKeys: number };
  /** Given in training mode: then dropout acts. */
  readonly training?: Training | undefined;
}

/** Attention between two token lists, with linear maps before and after. */
export class Attention extends Module {
  /** Projection of the queries. */
  readonly q_proj: Linear;
  /** Projection of the keys. */
  readonly k_proj: Linear;
  /** Projection of the values. */
  readonly v_proj: Linear;
  /** Projection of the joined heads. */
  readonly out_proj: Linear;
  private readonly heads: number;
  private readonly dropout: number;

  /** Builds the projections. @throws {RangeError} where the heads do not divide the channels. */
  constructor({ dim, heads, downsampleRate = 1, kvDim = dim, dropout = 0 }: AttentionConfig) {
    super();
    const internal = dim / downsampleRate;
    if (!Number.isInteger(internal / heads)) {
      throw new RangeError(`Attention: ${internal} channels do not divide into ${heads} heads.`);
    }
    this.q_proj = new Linear(dim, internal);
    this.k_proj = new Linear(kvDim, internal);
    this.v_proj = new Linear(kvDim, internal);
    this.out_proj = new Linear(internal, dim);
    this.heads = heads;
    this.dropout = dropout;
  }

  /** Queries [B, N, dim] attend to keys and values [B, M, kvDim]: [B, N, dim]. */
  forward(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions = {}): Tensor {
    const { rotary, training } = options;
    let q = this.splitHeads(this.q_proj.forward(query));
    let k = this.splitHeads(this.k_proj.forward(key));
    const v = this.splitHeads(this.v_proj.forward(value));
    if (rotary) {
      const { tables: { cos, sin }, excludedKeys } = rotary;
      q = applyRotary(q, cos, sin);
      k = applyRotary(k, cos, sin, { excluded: excludedKeys });
    }
    const out = training && this.dropout > 0
      ? this.attendWithDropout(q, k, v, training)
      : scaledDotProductAttention(q, k, v);
    const [batch, , tokens] = out.shape;
    return this.out_proj.forward(reshape(permute(out, [0, 2, 1, 3]), [batch, tokens, -1]));
  }

  /** The fused kernel never holds the weights that dropout acts on, so they are spelled out. */
  private attendWithDropout(q: Tensor, k: Tensor, v: Tensor, training: Training): Tensor {
    const scores = mul(matmul(q, k, { transB: true }), 1 / Math.sqrt(q.shape[3]));
    return matmul(training.dropout(softmax(scores, -1), this.dropout), v);
  }

  /** [B, N, C] to [B, heads, N, C / heads]. */
  private splitHeads(x: Tensor): Tensor {
    const [batch, tokens] = x.shape;
    return permute(reshape(x, [batch, tokens, this.heads, -1]), [0, 2, 1, 3]);
  }
}
