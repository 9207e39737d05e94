/** Dual feature enhancement (SSS, section 4.2): two views of one image sharpen each other's features. */
import {
  add,
  dfeCombine,
  dfeSimilarity,
  div,
  maximum,
  mul,
  padZeros,
  permute,
  relu,
  reshape,
  sigmoid,
  slice,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
  where,
} from "../../engine/mod.ts";
import { Conv2d, filledWith, LayerNorm, Linear, Module, Parameter } from "../../engine/nn/mod.ts";
import type { SssConfig } from "./config.ts";

/** Smallest product of norms in a cosine. */
const COSINE_EPS = 1e-8;

/** Four linear layers at every position, C to 2C to 2C to C to C, LayerNorm and ReLU between. */
export class PositionMlp extends Module {
  /** The four linear layers. */
  readonly layers: readonly Linear[];
  /** Norms after all layers but the last. */
  readonly norms: readonly LayerNorm[];

  /** For maps of `dim` channels. */
  constructor(dim: number) {
    super();
    const widths = [dim, 2 * dim, 2 * dim, dim, dim];
    this.layers = widths.slice(1).map((width, i) => new Linear(widths[i], width));
    this.norms = widths.slice(1, 4).map((width) => new LayerNorm(width));
  }

  /** [B, C, H, W] to [B, C, H, W]. */
  forward(x: Tensor): Tensor {
    const [batch, dim, height, width] = x.shape;
    let y = permute(reshape(x, [batch, dim, height * width]), [0, 2, 1]);
    for (const [i, layer] of this.layers.entries()) {
      y = layer.forward(y);
      const norm = this.norms[i];
      if (norm) y = relu(norm.forward(y));
    }
    return reshape(permute(y, [0, 2, 1]), x.shape);
  }
}

/** How two streams are compared and what becomes of the result. */
export type DfeOptions = Pick<SssConfig, "similarity" | "temperature" | "residual">;

/** The operator E of one scale. */
export class Dfe extends Module {
  /** Convolution 3 x 3 that both streams pass first. */
  readonly align: Conv2d;
  /** Maps the aligned streams. */
  readonly mlp: PositionMlp;
  /** Learned factor of the residual, 0 at first: training starts from plain SAM-2. */
  readonly scale: Parameter;

  /**
   * The operator for one width.
   *
   * @param dim channels of the feature maps, any positive integer.
   */
  constructor(dim: number) {
    super();
    this.align = new Conv2d(dim, dim, 3, { padding: 1 });
    this.mlp = new PositionMlp(dim);
    this.scale = new Parameter([1], filledWith(0));
  }

  /**
   * E(P, Q) = w MLP(P') + (1 - w) MLP(Q') + (1 - S) (Q' - P'), P' and Q' the aligned maps, S their
   * similarity and w = sigmoid(S).
   *
   * @param p stream that is enhanced, [B, C, H, W].
   * @param q the other stream.
   */
  compare(
    p: Tensor,
    q: Tensor,
    { similarity = "global", temperature = 1 }: Partial<DfeOptions> = {},
  ): { similarity: Tensor; out: Tensor } {
    const [alignedP, alignedQ] = [this.align.forward(p), this.align.forward(q)];
    const [mappedP, mappedQ] = [this.mlp.forward(alignedP), this.mlp.forward(alignedQ)];
    if (similarity === "global") {
      const s = dfeSimilarity(alignedP, alignedQ);
      return { similarity: s, out: dfeCombine(alignedP, alignedQ, mappedP, mappedQ, s) };
    }
    const s = spatialSimilarity(alignedP, alignedQ);
    const w = sigmoid(div(s, temperature));
    const alike = add(mul(w, mappedP), mul(sub(1, w), mappedQ));
    return { similarity: s, out: add(alike, mul(sub(1, s), sub(alignedQ, alignedP))) };
  }

  /**
   * The stream `p` with what `q` adds to it.
   *
   * @param foreign 1 where `q` shows another image (CutMix), [B, 1, H, W]: there `p` meets itself.
   */
  enhance(p: Tensor, q: Tensor, options: DfeOptions, foreign?: Tensor): Tensor {
    const { out } = this.compare(p, foreign ? where(foreign, p, q) : q, options);
    return options.residual === "replace" ? out : add(p, mul(this.scale, out));
  }
}

/** Cosine over channels at every position after a 3 x 3 box filter, [B, 1, H, W]. */
function spatialSimilarity(p: Tensor, q: Tensor): Tensor {
  const [smoothP, smoothQ] = [boxFilter(p), boxFilter(q)];
  const dot = sum(mul(smoothP, smoothQ), 1, true);
  const norms = mul(sqrt(sum(square(smoothP), 1, true)), sqrt(sum(square(smoothQ), 1, true)));
  return div(dot, maximum(norms, COSINE_EPS));
}

/** Sum over 3 x 3 neighbours, zeros outside: a cosine does not see the missing factor 1 / 9. */
function boxFilter(x: Tensor): Tensor {
  const [, , height, width] = x.shape;
  const along = (t: Tensor, dim: number, size: number) => {
    const padded = padZeros(t, t.shape.map((_, i) => i === dim ? [1, 1] : [0, 0]));
    const at = (offset: number) => slice(padded, dim, offset, offset + size);
    return add(add(at(0), at(1)), at(2));
  };
  return along(along(x, 2, height), 3, width);
}
