/** SAM-2 with what SSS adds: class tokens, feature enhancement on three scales, the coarse head. */
import {
  add,
  cat,
  detach,
  expand,
  flatten,
  interpolate,
  log,
  narrow,
  permute,
  repeatInterleave,
  reshape,
  softmax,
  sub,
  type Tensor,
  tile,
  zeros,
} from "../../engine/mod.ts";
import { Embedding, Module, normal, type Training } from "../../engine/nn/mod.ts";
import type { Sam2Config } from "../config.ts";
import type { PyramidFeatures } from "../sam2/fpn_neck.ts";
import { sinePositionEncoding } from "../sam2/position_encoding.ts";
import type { PointPrompt } from "../sam2/prompt_encoder.ts";
import { Sam2 } from "../sam2/sam2.ts";
import { CoarseHead } from "./coarse_head.ts";
import { Dfe, type DfeOptions } from "./dfe.ts";

/**
 * Spread of the class tokens at the start, that of SAM's own prompt tokens: at 0.02 the classes of a
 * nano model were still alike after 250 steps.
 */
const CLASS_TOKEN_STD = 1;

/** Keeps the logits of mask prompts within +-10. */
const TINY = Math.exp(-10);

/** What is learned beside SAM-2; its keys begin with `sss.`. */
export class SssParts extends Module {
  /** One prompt token per class, [classes, dModel]. */
  readonly class_embed: Embedding;
  /** Feature enhancement of each scale, finest first. */
  readonly dfe: readonly Dfe[];
  /** The head of coarse logits, background included. */
  readonly coarse: CoarseHead;

  /** Parts for maps of `dim` channels on `scales` scales. */
  constructor(dim: number, classes: number, scales: number) {
    super();
    this.class_embed = new Embedding(classes, dim, normal(CLASS_TOKEN_STD));
    this.dfe = Array.from({ length: scales }, () => new Dfe(dim));
    this.coarse = new CoarseHead(dim, classes + 1);
  }
}

/** Masks of all classes of a batch of images, before absent objects are blanked. */
export interface ClassMasks {
  /** Logits [B, C, R / 4, R / 4]. */
  readonly logits: Tensor;
  /** Logit of the class being in the image, [B, C]. */
  readonly objectScores: Tensor;
  /** Predicted overlap of each mask, [B, C]. */
  readonly ious: Tensor;
}

/** Prompts of every object of a batch. */
export interface ObjectPrompts {
  /** Coordinates [B C, P, 2] and labels [B C, P]. */
  readonly points: PointPrompt;
  /** Logits [B C, 1, R / 4, R / 4]. */
  readonly masks?: Tensor | undefined;
  /** Whether the decoder adds to the mask prompt instead of replacing it. */
  readonly refine?: boolean;
}

/** Memories that the objects of a batch attend to: items of the memory bank. */
export interface DrawnMemories {
  /** Memory maps of `count` draws for every object, [B C, count (R / 16)^2, memDim]. */
  readonly tokens: Tensor;
  /** Memories drawn for every object. */
  readonly count: number;
}

/** What the coarse head reads. */
export interface CoarseOptions {
  /** The finest level of the pyramid alone, or the sum of all. */
  readonly coarseLevels: "finest" | "all";
}

/** SAM-2 that segments a fixed list of classes, each as one object. */
export class SssModel extends Sam2 {
  /** What is learned beside SAM-2. */
  readonly sss: SssParts;

  /**
   * SAM-2 with the parts of SSS.
   *
   * @param classes number of classes without background.
   */
  constructor(config: Sam2Config, readonly classes: number) {
    super(config);
    this.sss = new SssParts(config.dModel, classes, 3);
  }

  /** Feature pyramid of normalised images [B, 3, R, R], all levels with dModel channels. */
  encode(images: Tensor): PyramidFeatures {
    return this.image_encoder.forward(images);
  }

  /**
   * The levels of `p` enhanced by those of `q`, scale by scale.
   *
   * @param foreign 1 where `q` shows another image, [B, 1, R, R].
   */
  enhance(
    p: PyramidFeatures,
    q: PyramidFeatures,
    options: DfeOptions,
    foreign?: Tensor,
  ): PyramidFeatures {
    const levels = p.levels.map((level, i) => {
      const size = [level.shape[2], level.shape[3]] as const;
      const mask = foreign && interpolate(foreign, { size, mode: "nearest" });
      return this.sss.dfe[i].enhance(level, q.levels[i], options, mask);
    });
    return { levels, positions: p.positions };
  }

  /** Coarse logits [B, classes + 1, R / 4, R / 4]. */
  coarse({ levels }: PyramidFeatures, options: CoarseOptions, training?: Training): Tensor {
    const [finest, ...coarser] = levels;
    const size = [finest.shape[2], finest.shape[3]] as const;
    const read = options.coarseLevels === "all" ? coarser : [];
    const enlarged = read.map((level) => interpolate(level, { size, mode: "bilinear" }));
    return this.sss.coarse.forward([finest, ...enlarged].reduce(add), training);
  }

  /**
   * Pseudo-masks as mask prompts: how much more likely each class is than all others, as logits within
   * +-10 [B C, 1, R / 4, R / 4]; no gradient flows.
   */
  maskPrompts(coarse: Tensor): Tensor {
    const [batch, , height, width] = coarse.shape;
    const probability = narrow(softmax(detach(coarse), 1), 1, 1, this.classes);
    const odds = sub(log(add(probability, TINY)), log(add(sub(1, probability), TINY)));
    return reshape(odds, [batch * this.classes, 1, height, width]);
  }

  /** Image embeddings of every object, [B C, dModel, R / 16, R / 16], with or without memories. */
  embed(features: PyramidFeatures, memories?: DrawnMemories, training?: Training): Tensor {
    const coarsest = features.levels[features.levels.length - 1];
    const embedding = repeatInterleave(coarsest, this.classes, 0);
    if (!memories) return add(embedding, reshape(this.no_mem_embed, [1, -1, 1, 1]));
    const [, , height, width] = coarsest.shape;
    const toTokens = (map: Tensor) => permute(flatten(map, 2), [0, 2, 1]);
    const place = sinePositionEncoding(this.config.memDim, height, width);
    const conditioned = this.memory_attention.forward(
      toTokens(embedding),
      toTokens(features.positions[features.positions.length - 1]),
      {
        memory: memories.tokens,
        positions: tile(toTokens(place), [1, memories.count, 1]),
        pointerTokens: 0,
      },
      { grid: [height, width], training },
    );
    return reshape(permute(conditioned, [0, 2, 1]), embedding.shape);
  }

  /**
   * One mask for each class of each image: the class token goes before all other prompt tokens.
   *
   * @param embedding from {@link embed}, [B C, dModel, R / 16, R / 16].
   * @param prompts of every object: points [B C, P, 2] with labels [B C, P], and mask prompts where
   * there are any; with `refine` the masks are what the decoder adds to these.
   */
  decode(
    features: PyramidFeatures,
    embedding: Tensor,
    { refine, ...prompts }: ObjectPrompts,
    training?: Training,
  ): ClassMasks {
    const batch = features.levels[0].shape[0];
    const objects = batch * this.classes;
    const { levels } = this.sharpen(features);
    const highRes = levels.slice(0, -1).map((level) => repeatInterleave(level, this.classes, 0));
    const token = reshape(this.sss.class_embed.weight, [1, this.classes, 1, -1]);
    const leadingTokens = reshape(expand(token, [batch, -1, -1, -1]), [objects, 1, -1]);
    const all = { ...prompts, leadingTokens };
    const heads = this.forwardSamHeads(embedding, highRes, all, { multimask: false, training });
    const own = heads.ungatedMultimasks;
    const masks = refine && prompts.masks ? add(own, prompts.masks) : own;
    const [, , height, width] = own.shape;
    const perImage = [batch, this.classes];
    return {
      logits: reshape(masks, [...perImage, height, width]),
      objectScores: reshape(heads.objectScoreLogits, perImage),
      ious: reshape(heads.ious, perImage),
    };
  }

  /** Memory maps of every object, [B C, memDim, R / 16, R / 16]. */
  remember(features: PyramidFeatures, masks: ClassMasks): Tensor {
    const coarsest = features.levels[features.levels.length - 1];
    const { imageSize } = this.config;
    const objects = masks.objectScores.size;
    const [, , height, width] = masks.logits.shape;
    const full = interpolate(reshape(masks.logits, [objects, 1, height, width]), {
      size: [imageSize, imageSize],
      mode: "bilinear",
    });
    const embedding = repeatInterleave(coarsest, this.classes, 0);
    return this.encodeNewMemory(embedding, full, reshape(masks.objectScores, [objects, 1]))
      .features;
  }

  /** Softmax logits at full size, [B, 1 + C, R, R]: 0 for the background, then the classes. */
  classLogits(masks: ClassMasks): Tensor {
    const { imageSize } = this.config;
    const up = interpolate(masks.logits, { size: [imageSize, imageSize], mode: "bilinear" });
    return cat([zeros([up.shape[0], 1, imageSize, imageSize]), up], 1);
  }
}
