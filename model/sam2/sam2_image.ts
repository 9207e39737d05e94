import {
  add,
  amax,
  cat,
  flatten,
  full,
  gt,
  interpolate,
  mul,
  ones,
  reshape,
  sigmoid,
  squeeze,
  sub,
  type Tensor,
  where,
  zeros,
} from "../../engine/mod.ts";
import type { Training } from "../../engine/nn/mod.ts";
import { bestIndex, takePerRow } from "./choose.ts";
import type { PyramidFeatures } from "./fpn_neck.ts";
import type { EncodedPrompts, PointPrompt } from "./prompt_encoder.ts";
import { Sam2Modules } from "./sam2_modules.ts";
import { type Trace, under } from "./trace.ts";

/** Logit of all masks of an object that is not in the image. */
export const NO_OBJECT_LOGIT = -1024;

/** Logits that stand for a given binary mask: `mask * scale + bias`. */
const MASK_LOGITS = { scale: 20, bias: -10 } as const;

/** Label of a point that is none. */
const NOT_A_POINT = -1;

/** Encoded images, as the heads and the memory take them. */
export interface ImageFeatures {
  /**
   * Strides 4, 8 and 16: [B, dModel / 8, R / 4, R / 4], [B, dModel / 4, R / 8, R / 8] and
   * [B, dModel, R / 16, R / 16].
   */
  readonly levels: readonly Tensor[];
  /** Position encodings, [1, dModel, R / stride, R / stride]. */
  readonly positions: readonly Tensor[];
}

/** Prompts of a batch of objects. */
export interface SamPrompts {
  /** Labelled points of every object. */
  readonly points?: PointPrompt | undefined;
  /** Mask logits [B, 1, h, w], resized with antialias where they are not R / 4 on a side. */
  readonly masks?: Tensor | undefined;
  /** Tokens [B, N, dModel] placed before those of the points. */
  readonly leadingTokens?: Tensor | undefined;
}

/** How the heads run. */
export interface SamHeadsOptions {
  /** Several masks, of which the one with the best predicted overlap is taken. */
  readonly multimask?: boolean;
  /** Given in training mode. */
  readonly training?: Training | undefined;
  /** Receives `low_res_multimasks` and `ious`. */
  readonly trace?: Trace | undefined;
}

/** Masks of a batch of objects; M is 1 or 3. */
export interface SamHeadsOutput {
  /** Logits of all masks, [B, M, R / 4, R / 4]; {@link NO_OBJECT_LOGIT} where there is no object. */
  readonly lowResMultimasks: Tensor;
  /** The same at full size, [B, M, R, R]. */
  readonly highResMultimasks: Tensor;
  /** Predicted overlaps with the true mask, [B, M]. */
  readonly ious: Tensor;
  /** The best mask, [B, 1, R / 4, R / 4]. */
  readonly lowResMasks: Tensor;
  /** The best mask, [B, 1, R, R]. */
  readonly highResMasks: Tensor;
  /** A vector that tells what the object is, [B, dModel]. */
  readonly objPtr: Tensor;
  /** Logit of the object being in the image, [B, 1]. */
  readonly objectScoreLogits: Tensor;
  /** `lowResMultimasks` before absent objects are blanked: gradients flow whatever the score is. */
  readonly ungatedMultimasks: Tensor;
}

/** SAM-2 on single images: encoder, prompts and masks. */
export class Sam2Image extends Sam2Modules {
  /**
   * Encodes normalised images [B, 3, R, R].
   *
   * @param trace receives `trunk.*`, `neck.*`, `vision_features` and `forward_image.*`.
   */
  forwardImage(images: Tensor, trace?: Trace): ImageFeatures {
    const pyramid = this.image_encoder.forward(images, trace);
    trace?.("vision_features", pyramid.levels[pyramid.levels.length - 1]);
    return this.sharpen(pyramid, under(trace, "forward_image"));
  }

  /** Narrows the fine levels of a feature pyramid (all of dModel channels) for the mask decoder. */
  sharpen({ levels, positions }: PyramidFeatures, trace?: Trace): ImageFeatures {
    const { conv_s0, conv_s1 } = this.sam_mask_decoder;
    const [fine, middle, coarse] = levels;
    const narrowed = conv_s0 && conv_s1
      ? [conv_s0.forward(fine), conv_s1.forward(middle), coarse]
      : levels;
    narrowed.forEach((level, i) => trace?.(`backbone_fpn.${i}`, level));
    positions.forEach((position, i) => trace?.(`vision_pos_enc.${i}`, position));
    return { levels: narrowed, positions };
  }

  /** The image embedding of frames that attend to no memory, [B, dModel, R / 16, R / 16]. */
  withoutMemory(features: ImageFeatures): Tensor {
    const embedding = features.levels[features.levels.length - 1];
    return add(embedding, reshape(this.no_mem_embed, [1, -1, 1, 1]));
  }

  /**
   * Predicts masks from an image embedding and prompts.
   *
   * @param embedding [B, dModel, R / 16, R / 16], conditioned on memories or not; a batch of 1 serves
   * all prompts.
   * @param highRes the levels of strides 4 and 8, of the same batch.
   */
  forwardSamHeads(
    embedding: Tensor,
    highRes: readonly Tensor[],
    prompts: SamPrompts,
    { multimask = false, training, trace }: SamHeadsOptions = {},
  ): SamHeadsOutput {
    const { sparse, dense } = this.encodePrompts(prompts, embedding.shape[0]);
    const decoded = this.sam_mask_decoder.forward(
      {
        imageEmbeddings: embedding,
        imagePositions: this.sam_prompt_encoder.densePositions(),
        sparse,
        dense,
        highRes,
      },
      multimask,
      training,
    );
    const { masks: ungatedMultimasks, ious, tokens, objectScoreLogits } = decoded;
    const present = gt(objectScoreLogits, 0);
    const gate = reshape(present, [-1, 1, 1, 1]);
    const lowResMultimasks = where(gate, ungatedMultimasks, NO_OBJECT_LOGIT);
    trace?.("low_res_multimasks", lowResMultimasks);
    trace?.("ious", ious);
    const best = multimask ? bestIndex(ious) : undefined;
    const choose = (x: Tensor) => best ? takePerRow(x, best) : x;
    const lowResMasks = choose(lowResMultimasks);
    const token = squeeze(choose(tokens), 1);
    const certainty = this.config.softNoObjPtr ? sigmoid(objectScoreLogits) : present;
    return {
      lowResMultimasks,
      highResMultimasks: this.toImageSize(lowResMultimasks),
      ious,
      lowResMasks,
      highResMasks: this.toImageSize(lowResMasks),
      objPtr: this.gatePointer(this.obj_ptr_proj.forward(token), certainty),
      objectScoreLogits,
      ungatedMultimasks,
    };
  }

  /**
   * Takes given binary masks [B, 1, R, R] as the output; the decoder runs for the object pointer only.
   *
   * @param embedding [B, dModel, R / 16, R / 16], without memory.
   */
  useMaskAsOutput(
    embedding: Tensor,
    highRes: readonly Tensor[],
    masks: Tensor,
    { training, trace }: Omit<SamHeadsOptions, "multimask"> = {},
  ): SamHeadsOutput {
    const batch = masks.shape[0];
    const highResMasks = add(mul(masks, MASK_LOGITS.scale), MASK_LOGITS.bias);
    const [height, width] = masks.shape.slice(2).map((n) => Math.floor(n / 4));
    const lowResMasks = interpolate(highResMasks, {
      size: [height, width],
      mode: "bilinear",
      antialias: true,
    });
    const prompts = { masks: this.mask_downsample.forward(masks) };
    const { objPtr } = this.forwardSamHeads(embedding, highRes, prompts, { training, trace });
    const present = gt(amax(flatten(masks, 1), 1, true), 0);
    return {
      lowResMultimasks: lowResMasks,
      highResMultimasks: highResMasks,
      ious: ones([batch, 1]),
      lowResMasks,
      highResMasks,
      objPtr: this.gatePointer(objPtr, present),
      objectScoreLogits: add(mul(present, MASK_LOGITS.scale), MASK_LOGITS.bias),
      ungatedMultimasks: lowResMasks,
    };
  }

  /** Without points, one that says so stands in: the decoder always sees prompt tokens. */
  private encodePrompts(prompts: SamPrompts, embeddings: number): EncodedPrompts {
    const { leadingTokens, masks } = prompts;
    const batch = prompts.points?.labels.shape[0] ?? leadingTokens?.shape[0] ?? masks?.shape[0] ??
      embeddings;
    const points = prompts.points ??
      { coords: zeros([batch, 1, 2]), labels: full([batch, 1], NOT_A_POINT) };
    const { maskSize } = this.sam_prompt_encoder;
    const resized = masks && (masks.shape[2] !== maskSize || masks.shape[3] !== maskSize)
      ? interpolate(masks, { size: [maskSize, maskSize], mode: "bilinear", antialias: true })
      : masks;
    const { sparse, dense } = this.sam_prompt_encoder.forward({ points, masks: resized });
    return { sparse: leadingTokens ? cat([leadingTokens, sparse], 1) : sparse, dense };
  }

  /** Resizes masks to [B, M, R, R]. */
  private toImageSize(masks: Tensor): Tensor {
    const { imageSize } = this.config;
    return interpolate(masks, { size: [imageSize, imageSize], mode: "bilinear" });
  }

  /** Mixes the pointer [B, dModel] with that of a missing object by the certainty [B, 1]. */
  private gatePointer(pointer: Tensor, certainty: Tensor): Tensor {
    return add(mul(certainty, pointer), mul(sub(1, certainty), this.no_obj_ptr));
  }
}
