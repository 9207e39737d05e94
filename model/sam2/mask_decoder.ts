/** The SAM mask decoder, with SAM-2's object score and high-resolution features. */
import {
  add,
  cast,
  cat,
  checkpoint,
  div,
  expand,
  flatten,
  full,
  ge,
  gelu,
  gt,
  matmul,
  maximum,
  permute,
  reshape,
  select,
  slice,
  stack,
  sum,
  type Tensor,
  where,
} from "../../engine/mod.ts";
import {
  Conv2d,
  ConvTranspose2d,
  Embedding,
  LayerNorm2d,
  Linear,
  MLP,
  Module,
  type Training,
} from "../../engine/nn/mod.ts";
import type { MaskDecoderConfig } from "../config.ts";
import { bestIndex, takePerRow } from "./choose.ts";
import { TwoWayTransformer } from "./two_way_transformer.ts";

/** Logit of the object score where the decoder does not predict one. */
const SURE_OBJECT = 10;

/** Inputs of {@link MaskDecoder.forward}; batches of size 1 serve all objects. */
export interface MaskDecoderInputs {
  /** [B or 1, dim, h, w] */
  readonly imageEmbeddings: Tensor;
  /** Position encoding of the image embedding, [1, dim, h, w]. */
  readonly imagePositions: Tensor;
  /** Prompt tokens, [B, N, dim]; N may be 0. */
  readonly sparse: Tensor;
  /** Prompt map, [B, dim, h, w]. */
  readonly dense: Tensor;
  /** Maps of strides 4 and 8: [B or 1, dim / 8, 4 h, 4 w] and [B or 1, dim / 4, 2 h, 2 w]. */
  readonly highRes?: readonly Tensor[] | undefined;
}

/** Masks with what belongs to them; M is 1, or the number of masks. */
export interface MaskDecoderOutput {
  /** Logits, [B, M, 4 h, 4 w]. */
  readonly masks: Tensor;
  /** Predicted overlap with the true mask, [B, M]. */
  readonly ious: Tensor;
  /** Tokens for the object pointer, [B, 1 or M, dim]. */
  readonly tokens: Tensor;
  /** Logit of the object being in the image, [B, 1]. */
  readonly objectScoreLogits: Tensor;
}

/** The mask decoder. */
export class MaskDecoder extends Module {
  /** Lets tokens and image attend to each other. */
  readonly transformer: TwoWayTransformer;
  /** Token of the overlap prediction, [1, dim]. */
  readonly iou_token: Embedding;
  /** Tokens of the single mask and of the others, [1 + masks, dim]. */
  readonly mask_tokens: Embedding;
  /** Token of the object score, [1, dim], where one is predicted. */
  readonly obj_score_token: Embedding | undefined;
  /** Brings the image embedding to four times its side. */
  readonly output_upscaling: {
    readonly 0: ConvTranspose2d;
    readonly 1: LayerNorm2d;
    readonly 3: ConvTranspose2d;
  };
  /** Narrows the map of stride 4 to dim / 8 channels. */
  readonly conv_s0: Conv2d | undefined;
  /** Narrows the map of stride 8 to dim / 4 channels. */
  readonly conv_s1: Conv2d | undefined;
  /** Makes the filter of each mask from its token. */
  readonly output_hypernetworks_mlps: readonly MLP[];
  /** Predicts the overlap of every mask. */
  readonly iou_prediction_head: MLP;
  /** Predicts the object score, where it is wanted. */
  readonly pred_obj_score_head: MLP | Linear | undefined;
  /** Whether gradients compute the values inside anew, which are then not kept for them. */
  checkpointing = false;

  /** A decoder for embeddings of `dim` channels. */
  constructor(private readonly dim: number, private readonly config: MaskDecoderConfig) {
    super();
    const masks = config.numMultimaskOutputs + 1;
    this.transformer = new TwoWayTransformer(config.transformerDepth, {
      dim,
      heads: config.transformerHeads,
      mlpDim: config.transformerMlpDim,
    });
    this.iou_token = new Embedding(1, dim);
    this.mask_tokens = new Embedding(masks, dim);
    this.obj_score_token = config.predObjScores ? new Embedding(1, dim) : undefined;
    this.output_upscaling = {
      0: new ConvTranspose2d(dim, dim / 4, 2),
      1: new LayerNorm2d(dim / 4),
      3: new ConvTranspose2d(dim / 4, dim / 8, 2),
    };
    this.conv_s0 = config.useHighResFeatures ? new Conv2d(dim, dim / 8, 1) : undefined;
    this.conv_s1 = config.useHighResFeatures ? new Conv2d(dim, dim / 4, 1) : undefined;
    this.output_hypernetworks_mlps = Array.from(
      { length: masks },
      () => new MLP(dim, dim, dim / 8, 3),
    );
    this.iou_prediction_head = new MLP(dim, config.iouHeadHiddenDim, masks, config.iouHeadDepth, {
      sigmoidOutput: config.iouPredictionUseSigmoid,
    });
    this.pred_obj_score_head = !config.predObjScores
      ? undefined
      : config.predObjScoresMlp
      ? new MLP(dim, dim, 1, 3)
      : new Linear(dim, 1);
  }

  /**
   * Predicts several masks for ambiguous prompts (`multimask`), or one.
   *
   * @param training in training mode the single mask is never replaced.
   */
  forward(inputs: MaskDecoderInputs, multimask: boolean, training?: Training): MaskDecoderOutput {
    const predict = () => this.predictMasks(inputs);
    const all = this.checkpointing ? checkpoint(predict) : predict();
    const { masks, ious, tokens, objectScoreLogits } = all;
    const pointerTokens = multimask && this.config.useMultimaskTokenForObjPtr
      ? slice(tokens, 1, 1)
      : slice(tokens, 1, 0, 1);
    const rest = { tokens: pointerTokens, objectScoreLogits };
    if (multimask) return { masks: slice(masks, 1, 1), ious: slice(ious, 1, 1), ...rest };
    if (this.config.dynamicMultimaskViaStability && !training) {
      return { ...this.stableSingleMask(masks, ious), ...rest };
    }
    return { masks: slice(masks, 1, 0, 1), ious: slice(ious, 1, 0, 1), ...rest };
  }

  /** Predicts the single mask (index 0) and the others together. */
  predictMasks(inputs: MaskDecoderInputs): MaskDecoderOutput {
    const { imageEmbeddings, imagePositions, sparse, dense, highRes } = inputs;
    const ownTokens = this.outputTokens(sparse.shape[0]);
    const tokens = sparse.shape[1] > 0 ? cat([ownTokens, sparse], 1) : ownTokens;
    const image = add(imageEmbeddings, dense);
    const { queries, keys } = this.transformer.forward(
      toTokens(image),
      toTokens(imagePositions),
      tokens,
    );
    const first = this.obj_score_token ? 1 : 0;
    const masks = this.mask_tokens.weight.shape[0];
    const maskTokens = slice(queries, 1, first + 1, first + 1 + masks);
    const map = reshape(permute(keys, [0, 2, 1]), [-1, ...image.shape.slice(1)]);
    const scores = this.pred_obj_score_head?.forward(select(queries, 1, 0)) ??
      full([tokens.shape[0], 1], SURE_OBJECT);
    // Results are f32 in mixed precision too.
    return {
      masks: cast(this.drawMasks(maskTokens, this.upscale(map, highRes)), "f32"),
      ious: cast(this.iou_prediction_head.forward(select(queries, 1, first)), "f32"),
      tokens: maskTokens,
      objectScoreLogits: cast(scores, "f32"),
    };
  }

  /**
   * Stability of masks [..., H, W]: the share of pixels above `-delta` that are also above `delta`,
   * [...]; 1 where there are none.
   */
  stabilityScores(masks: Tensor): Tensor {
    const delta = this.config.dynamicMultimaskStabilityDelta;
    const area = (threshold: number) => sum(gt(flatten(masks, -2), threshold), -1);
    const outer = area(-delta);
    return where(gt(outer, 0), div(area(delta), maximum(outer, 1)), 1);
  }

  /** Per object, the single mask where it is stable, else the best of the others. */
  private stableSingleMask(masks: Tensor, ious: Tensor): Pick<MaskDecoderOutput, "masks" | "ious"> {
    const others = slice(ious, 1, 1);
    const best = bestIndex(others);
    const single = { masks: slice(masks, 1, 0, 1), ious: slice(ious, 1, 0, 1) };
    const threshold = this.config.dynamicMultimaskStabilityThresh;
    const stable = ge(this.stabilityScores(single.masks), threshold);
    const stableMap = reshape(stable, [...stable.shape, 1, 1]);
    return {
      masks: where(stableMap, single.masks, takePerRow(slice(masks, 1, 1), best)),
      ious: where(stable, single.ious, takePerRow(others, best)),
    };
  }

  /** The learned tokens, [B, T, dim]: object score, overlap, then masks. */
  private outputTokens(batch: number): Tensor {
    const learned = [this.obj_score_token, this.iou_token, this.mask_tokens];
    const tokens = cat(learned.flatMap((embedding) => embedding ? [embedding.weight] : []), 0);
    return expand(reshape(tokens, [1, ...tokens.shape]), [batch, -1, this.dim]);
  }

  /** [B, dim, h, w] to [B, dim / 8, 4 h, 4 w]. */
  private upscale(map: Tensor, highRes: readonly Tensor[] | undefined): Tensor {
    const layers = this.output_upscaling;
    const norm = layers[1];
    if (!this.config.useHighResFeatures) {
      const half = gelu(norm.forward(layers[0].forward(map)));
      return gelu(layers[3].forward(half));
    }
    if (highRes?.length !== 2) {
      throw new RangeError(
        `MaskDecoder: needs 2 high-resolution maps, not ${highRes?.length ?? 0}.`,
      );
    }
    const half = gelu(norm.forward(add(layers[0].forward(map), highRes[1])));
    return gelu(add(layers[3].forward(half), highRes[0]));
  }

  /** One linear filter per mask token, applied to the upscaled map [B, c, H, W]. */
  private drawMasks(maskTokens: Tensor, map: Tensor): Tensor {
    const filters = stack(
      this.output_hypernetworks_mlps.map((mlp, i) => mlp.forward(select(maskTokens, 1, i))),
      1,
    );
    const [batch, channels, height, width] = map.shape;
    const masks = matmul(filters, reshape(map, [batch, channels, height * width]));
    return reshape(masks, [batch, -1, height, width]);
  }
}

/** [B, C, H, W] to [B, H * W, C]. */
function toTokens(map: Tensor): Tensor {
  return permute(flatten(map, 2), [0, 2, 1]);
}
