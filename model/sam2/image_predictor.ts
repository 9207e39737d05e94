/** Interactive segmentation of one image: encode once, then prompt as often as wanted. */
import {
  add,
  clamp,
  dispose,
  evaluate,
  interpolate,
  mul,
  permute,
  readAll,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import type { ImageFeatures, Sam2Image } from "./sam2_image.ts";

/** Mean and standard deviation of the channels of natural images, for values in [0, 1]. */
export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** Low-resolution logits are handed out within these bounds, as mask prompts expect them. */
const LOGIT_BOUND = 32;

/** Labels of the two corners of a box among points. */
const [TOP_LEFT, BOTTOM_RIGHT] = [2, 3];

/** An image of 8-bit channels, row-major [height, width, 3]. */
export interface RgbImage {
  /** Red, green and blue of each pixel. */
  readonly data: Uint8Array | Uint8ClampedArray;
  /** Pixels per row. */
  readonly width: number;
  /** Number of rows. */
  readonly height: number;
}

/** (x, y) in pixels of the image. */
export type Point = readonly [x: number, y: number];

/** What marks one object. */
export interface ObjectPrompt {
  /** Clicks on and off the object. */
  readonly points?: readonly Point[];
  /** One per point: 1 on the object, 0 off it. */
  readonly labels?: readonly number[];
  /** (x0, y0, x1, y1) in pixels of the image. */
  readonly box?: readonly [x0: number, y0: number, x1: number, y1: number];
  /** Logits of an earlier prediction, [R / 4, R / 4]. */
  readonly maskLogits?: Float32Array;
}

/** Masks of N objects with M masks each, as arrays. */
export interface Prediction {
  /** Logits at the size of the image, [N, M, height, width]; the object is where they exceed 0. */
  readonly maskLogits: Float32Array;
  /** Predicted overlaps, [N, M]. */
  readonly ious: Float32Array;
  /** Logits within +-32, [N, M, R / 4, R / 4], fit for {@link ObjectPrompt.maskLogits}. */
  readonly lowResLogits: Float32Array;
  /** M */
  readonly masksPerObject: number;
}

/** The same as nodes of the graph. */
export interface LazyPrediction {
  /** [N, M, height, width] */
  readonly maskLogits: Tensor;
  /** [N, M] */
  readonly ious: Tensor;
  /** [N, M, R / 4, R / 4] */
  readonly lowResLogits: Tensor;
}

/** Prompts as tensors, in pixels of the model input. */
export interface TensorPrompts {
  /** [N, P, 2] */
  readonly coords?: Tensor | undefined;
  /** [N, P], as in the prompt encoder. */
  readonly labels?: Tensor | undefined;
  /** [N, 1, R / 4, R / 4] */
  readonly masks?: Tensor | undefined;
}

/**
 * Resizes an image to R x R (bilinear, antialiased) and normalises its channels: [1, 3, R, R]. The
 * aspect ratio is not kept, as the model was trained.
 */
export function transformImage(image: RgbImage, imageSize: number): Tensor {
  const { data, width, height } = image;
  if (data.length !== width * height * 3) {
    throw new UserError(
      `The image has ${data.length} bytes; ${width} x ${height} RGB pixels need ${
        width * height * 3
      }.`,
    );
  }
  const bytes = tensor(Float32Array.from(data), [1, height, width, 3]);
  const resized = interpolate(mul(permute(bytes, [0, 3, 1, 2]), 1 / 255), {
    size: [imageSize, imageSize],
    mode: "bilinear",
    antialias: true,
  });
  const perChannel = (values: readonly number[]) => tensor(values, [1, 3, 1, 1]);
  const scale = perChannel(IMAGENET.std.map((std) => 1 / std));
  const shift = perChannel(IMAGENET.std.map((std, i) => -IMAGENET.mean[i] / std));
  return add(mul(resized, scale), shift);
}

/** Predicts masks of one image at a time. */
export class ImagePredictor {
  private image: { readonly width: number; readonly height: number } | undefined;
  private encoded: ImageFeatures | undefined;

  /** A predictor without an image; the model's parameters need values first. */
  constructor(readonly model: Sam2Image) {}

  /** Encodes an image; its features stay on the GPU until the next one. */
  async setImage(image: RgbImage): Promise<void> {
    await this.reset();
    const input = transformImage(image, this.model.config.imageSize);
    const features = this.model.forwardImage(input);
    const embedding = this.model.withoutMemory(features);
    const levels = [...features.levels.slice(0, -1), embedding];
    await evaluate(levels);
    this.encoded = { ...features, levels };
    this.image = { width: image.width, height: image.height };
  }

  /** Frees the features of the image. */
  async reset(): Promise<void> {
    if (this.encoded) await dispose(this.encoded.levels);
    this.encoded = undefined;
    this.image = undefined;
  }

  /** Strides 4, 8 and 16, the last one with `no_mem_embed`: what the mask decoder takes. */
  get features(): readonly Tensor[] {
    return this.state().features.levels;
  }

  /**
   * Predicts the masks of objects.
   *
   * @param prompts one per object; all of the same kinds, with the same number of points.
   * @param multimask whether to return three masks per object (better for single points) or one.
   * @throws {UserError} where no image is set, or where the prompts differ in kind.
   */
  async predict(
    prompts: readonly ObjectPrompt[],
    { multimask = true }: { multimask?: boolean } = {},
  ): Promise<Prediction> {
    const lazy = this.predictTensors(this.toTensors(prompts), multimask);
    const outputs = [lazy.maskLogits, lazy.ious, lazy.lowResLogits];
    const [maskLogits, ious, lowResLogits] = await readAll(outputs) as Float32Array[];
    return { maskLogits, ious, lowResLogits, masksPerObject: lazy.ious.shape[1] };
  }

  /** The same on tensors and without evaluation. */
  predictTensors({ coords, labels, masks }: TensorPrompts, multimask: boolean): LazyPrediction {
    const { image, features: { levels } } = this.state();
    const { sam_prompt_encoder: encoder, sam_mask_decoder: decoder } = this.model;
    const points = coords && labels ? { coords, labels } : undefined;
    const { sparse, dense } = encoder.forward({ points, masks });
    const decoded = decoder.forward(
      {
        imageEmbeddings: levels[levels.length - 1],
        imagePositions: encoder.densePositions(),
        sparse,
        dense,
        highRes: levels.slice(0, -1),
      },
      multimask,
    );
    const size = [image.height, image.width] as const;
    return {
      maskLogits: interpolate(decoded.masks, { size, mode: "bilinear" }),
      ious: decoded.ious,
      lowResLogits: clamp(decoded.masks, -LOGIT_BOUND, LOGIT_BOUND),
    };
  }

  /** Boxes become two points before the others; coordinates become pixels of the model input. */
  private toTensors(prompts: readonly ObjectPrompt[]): TensorPrompts {
    const { image } = this.state();
    const { imageSize } = this.model.config;
    const scale = [imageSize / image.width, imageSize / image.height];
    const rows = prompts.map((prompt) => promptPoints(prompt));
    const count = rows[0]?.length ?? 0;
    if (rows.some((row) => row.length !== count)) {
      throw new UserError("Objects of one call need the same number of points and boxes.");
    }
    const coords = rows.flatMap((row) =>
      row.flatMap(({ at }) => [at[0] * scale[0], at[1] * scale[1]])
    );
    const labels = rows.flatMap((row) => row.map(({ label }) => label));
    const batch = prompts.length;
    return {
      ...(count > 0 && {
        coords: tensor(coords, [batch, count, 2]),
        labels: tensor(labels, [batch, count]),
      }),
      masks: this.maskTensor(prompts),
    };
  }

  /** The mask prompts as [N, 1, R / 4, R / 4], where there are any. */
  private maskTensor(prompts: readonly ObjectPrompt[]): Tensor | undefined {
    const side = this.model.sam_prompt_encoder.maskSize;
    const given = prompts.flatMap(({ maskLogits }) => maskLogits ? [maskLogits] : []);
    if (given.length === 0) return undefined;
    if (given.length !== prompts.length || given.some((mask) => mask.length !== side * side)) {
      throw new UserError(`Either all or no objects need mask logits, ${side} x ${side} each.`);
    }
    const all = new Float32Array(given.length * side * side);
    given.forEach((mask, i) => all.set(mask, i * side * side));
    return tensor(all, [given.length, 1, side, side]);
  }

  /** The encoded image. @throws {UserError} where none is set. */
  private state(): {
    readonly features: ImageFeatures;
    readonly image: { readonly width: number; readonly height: number };
  } {
    if (!this.encoded || !this.image) throw new UserError("Set an image before predicting masks.");
    return { features: this.encoded, image: this.image };
  }
}

interface LabelledPoint {
  readonly at: Point;
  readonly label: number;
}

function promptPoints({ points = [], labels = [], box }: ObjectPrompt): LabelledPoint[] {
  if (points.length !== labels.length) {
    throw new UserError(`There are ${points.length} points but ${labels.length} labels.`);
  }
  const corners: LabelledPoint[] = box
    ? [
      { at: [box[0], box[1]], label: TOP_LEFT },
      { at: [box[2], box[3]], label: BOTTOM_RIGHT },
    ]
    : [];
  return [...corners, ...points.map((at, i) => ({ at, label: labels[i] }))];
}
