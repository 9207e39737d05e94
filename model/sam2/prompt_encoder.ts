/** Encodes points, boxes and masks for the mask decoder. */
import {
  add,
  cat,
  eq,
  expand,
  gelu,
  reshape,
  stack,
  type Tensor,
  unsqueeze,
  where,
  zeros,
} from "../../engine/mod.ts";
import { Conv2d, Embedding, LayerNorm2d, Module } from "../../engine/nn/mod.ts";
import { PositionEmbeddingRandom } from "./position_encoding.ts";

/** Labelled points, pixels of the model input. */
export interface PointPrompt {
  /** (x, y), [B, P, 2] */
  readonly coords: Tensor;
  /**
   * f32 or i32 [B, P]: 1 on the object, 0 off it, 2 and 3 the top left and bottom right corner of a
   * box, -1 no point.
   */
  readonly labels: Tensor;
}

/** Prompts of a batch of objects; at least one kind, or none at all. */
export interface EncoderPrompts {
  /** Labelled points. */
  readonly points?: PointPrompt | undefined;
  /** (x0, y0, x1, y1), [B, 4]. The predictors pass boxes as points with labels 2 and 3 instead. */
  readonly boxes?: Tensor | undefined;
  /** Mask logits of an earlier prediction, [B, 1, 4 g, 4 g] for a feature grid of side g. */
  readonly masks?: Tensor | undefined;
}

/** What the mask decoder takes from prompts. */
export interface EncodedPrompts {
  /** Tokens of points and boxes, [B, N, dim]; N is 0 where there are none. */
  readonly sparse: Tensor;
  /** A map to add to the image embedding, [B, dim, g, g]. */
  readonly dense: Tensor;
}

/** Rows of {@link PromptEncoder.point_embeddings}. */
const CORNERS = [2, 3] as const;

/** The SAM prompt encoder (Kirillov et al., 2023). */
export class PromptEncoder extends Module {
  /** Encodes places in the image. */
  readonly pe_layer: PositionEmbeddingRandom;
  /** Vectors of the labels 0 to 3, [1, dim] each. */
  readonly point_embeddings: readonly Embedding[];
  /** Vector of the label -1, [1, dim]. */
  readonly not_a_point_embed: Embedding;
  /** Brings a mask prompt to a quarter of its side and `dim` channels. */
  readonly mask_downscaling: {
    readonly 0: Conv2d;
    readonly 1: LayerNorm2d;
    readonly 3: Conv2d;
    readonly 4: LayerNorm2d;
    readonly 6: Conv2d;
  };
  /** Stands at every place of the map where no mask is given, [1, dim]. */
  readonly no_mask_embed: Embedding;

  /**
   * Builds the encoder; no parameter gets memory or values yet.
   *
   * @param dim channels of tokens and maps.
   * @param imageSize side of the model input in pixels.
   * @param grid side of the image embedding.
   * @param maskChannels hidden channels of the mask downscaling.
   */
  constructor(
    private readonly dim: number,
    private readonly imageSize: number,
    private readonly grid: number,
    maskChannels: number,
  ) {
    super();
    this.pe_layer = new PositionEmbeddingRandom(dim);
    this.point_embeddings = [0, 1, 2, 3].map(() => new Embedding(1, dim));
    this.not_a_point_embed = new Embedding(1, dim);
    this.mask_downscaling = {
      0: new Conv2d(1, maskChannels / 4, 2, { stride: 2 }),
      1: new LayerNorm2d(maskChannels / 4),
      3: new Conv2d(maskChannels / 4, maskChannels, 2, { stride: 2 }),
      4: new LayerNorm2d(maskChannels),
      6: new Conv2d(maskChannels, dim, 1),
    };
    this.no_mask_embed = new Embedding(1, dim);
  }

  /** Side of the mask prompts that it takes. */
  get maskSize(): number {
    return 4 * this.grid;
  }

  /** The position encoding of the image embedding, [1, dim, g, g]. */
  densePositions(): Tensor {
    return this.pe_layer.forward(this.grid, this.grid);
  }

  /** Encodes prompts; without any, the batch is 1. */
  forward({ points, boxes, masks }: EncoderPrompts): EncodedPrompts {
    const batch = points?.coords.shape[0] ?? boxes?.shape[0] ?? masks?.shape[0] ?? 1;
    const tokens: Tensor[] = [];
    if (points) tokens.push(this.embedPoints(points, boxes === undefined));
    if (boxes) tokens.push(this.embedBoxes(boxes));
    return {
      sparse: tokens.length > 0 ? cat(tokens, 1) : zeros([batch, 0, this.dim]),
      dense: masks ? this.embedMasks(masks) : this.noMask(batch),
    };
  }

  /** [B, P, dim], and one more token with label -1 where padded. */
  private embedPoints({ coords, labels }: PointPrompt, padded: boolean): Tensor {
    const [batch, count] = labels.shape;
    let tokens = this.pe_layer.forwardWithCoords(add(coords, 0.5), this.imageSize);
    const shape = [batch, count, this.dim];
    const label = (value: number) => expand(unsqueeze(eq(labels, value), 2), shape);
    const nothing = reshape(this.not_a_point_embed.weight, [1, 1, this.dim]);
    tokens = where(label(-1), nothing, tokens);
    for (const [value, { weight }] of this.point_embeddings.entries()) {
      tokens = where(label(value), add(tokens, weight), tokens);
    }
    return padded ? cat([tokens, expand(nothing, [batch, 1, this.dim])], 1) : tokens;
  }

  /** Two tokens per box. */
  private embedBoxes(boxes: Tensor): Tensor {
    const corners = add(reshape(boxes, [-1, 2, 2]), 0.5);
    const tokens = this.pe_layer.forwardWithCoords(corners, this.imageSize);
    const [topLeft, bottomRight] = CORNERS.map((i) => this.point_embeddings[i].weight);
    return add(tokens, stack([topLeft, bottomRight], 1));
  }

  /** [B, 1, 4 g, 4 g] to [B, dim, g, g]. */
  private embedMasks(masks: Tensor): Tensor {
    if (masks.shape[2] !== this.maskSize || masks.shape[3] !== this.maskSize) {
      const { maskSize } = this;
      throw new RangeError(
        `PromptEncoder: masks are ${masks.shape[2]} x ${
          masks.shape[3]
        }, not ${maskSize} x ${maskSize}.`,
      );
    }
    const layers = this.mask_downscaling;
    let x = gelu(layers[1].forward(layers[0].forward(masks)));
    x = gelu(layers[4].forward(layers[3].forward(x)));
    return layers[6].forward(x);
  }

  /** The map of prompts without a mask, [B, dim, g, g]. */
  private noMask(batch: number): Tensor {
    const map = reshape(this.no_mask_embed.weight, [1, this.dim, 1, 1]);
    return expand(map, [batch, this.dim, this.grid, this.grid]);
  }
}
