/** Interactive segmentation of one image: encode once, then prompt as often as wanted. */
import {
  autocast,
  cast,
  cat,
  clamp,
  dispose,
  evaluate,
  interpolate,
  leaf,
  type Precision,
  read,
  readAll,
  reshape,
  type Shape,
  slice,
  type Tensor,
  tensor,
} from "../../engine/mod.ts";
import { UserError } from "../../engine/errors.ts";
import { Turns } from "../../engine/turns.ts";
import { replaceSmallRegions } from "../predictors/regions.ts";
import {
  copyPrompt,
  type ObjectPrompt,
  promptTensors,
  type TensorPrompts,
} from "./image_prompts.ts";
import { type RgbImage, transformImage } from "./image_transform.ts";
import { readMasks } from "./read_masks.ts";
import type { Sam2Image } from "./sam2_image.ts";

/** Low-resolution logits are handed out, and serve as prompts, within these bounds. */
const LOGIT_BOUND = 32;

/** Logits that pixels of small regions get, above and below the mask threshold. */
const REGION_LOGIT = 10;

/** Masks of N objects with M masks each, as arrays. */
export interface Prediction {
  /** Logits at the size of the image, [N, M, height, width]; the object is above the threshold. */
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
  /** [N, M, height, width], without the removal of small regions. */
  readonly maskLogits: Tensor;
  /** [N, M] */
  readonly ious: Tensor;
  /** [N, M, R / 4, R / 4], within +-32. */
  readonly lowResLogits: Tensor;
  /** [N, M, R / 4, R / 4], as the mask decoder gives them. */
  readonly decoded: Tensor;
}

/** How masks are computed and finished. */
export interface ImagePredictorOptions {
  /**
   * `f16` stores activations in half precision and computes in f32; it needs an adapter with shader-f16.
   * Results are f32 all the same. `f32` by default.
   */
  readonly precision?: Precision;
  /** Logits above it are inside; 0 by default. */
  readonly maskThreshold?: number;
  /** Background regions of at most this many low-resolution pixels are filled; 0 for none. */
  readonly maxHoleArea?: number;
  /** Foreground regions of at most this many low-resolution pixels are removed; 0 for none. */
  readonly maxSprinkleArea?: number;
}

/** How one call predicts. */
export interface PredictOptions {
  /** Three masks per object (default; better for single points) or one. */
  readonly multimask?: boolean;
  /** Number of the image, where several are set. */
  readonly image?: number;
  /** Whether coordinates are shares of the width and height, in [0, 1], instead of pixels. */
  readonly normalized?: boolean;
}

/** What the encoder made of an image: predictions need nothing else. */
export interface ImageEmbedding {
  /** Pixels per row of the image. */
  readonly width: number;
  /** Rows of the image. */
  readonly height: number;
  /** Strides 4, 8 and 16, [1, channels, R / stride, R / stride]. */
  readonly levels: readonly { readonly shape: Shape; readonly data: Float32Array }[];
}

/** Logits within the bounds that mask prompts expect. */
export function promptLogits(decoded: Tensor): Tensor {
  return clamp(decoded, -LOGIT_BOUND, LOGIT_BOUND);
}

/**
 * Predicts masks of images: encode once, then prompt as often as wanted. Calls run one after the other,
 * also where they are not awaited.
 *
 * @example A click, then a second one on the best mask of the first
 * ```ts
 * import { CONFIGS, FlatParameters, ImagePredictor, Sam2 } from "sam2";
 *
 * const model = new Sam2({ ...CONFIGS.nano, imageSize: 64 });
 * await FlatParameters.create(model); // random weights; loadWeights() puts others in their place
 * const predictor = new ImagePredictor(model);
 * await predictor.setImage({ data: new Uint8Array(40 * 30 * 3), width: 40, height: 30 });
 * const first = await predictor.predict([{ points: [[20, 15]], labels: [1] }]);
 * const best = first.ious.indexOf(Math.max(...first.ious));
 * const side = first.lowResLogits.length / first.masksPerObject;
 * const maskLogits = first.lowResLogits.slice(best * side, (best + 1) * side);
 * const prompt = { points: [[20, 15], [2, 3]] as const, labels: [1, 0], maskLogits };
 * const { ious } = await predictor.predict([prompt], { multimask: false });
 * console.log("predicted overlap", ious[0]);
 * await predictor.reset();
 * ```
 */
export class ImagePredictor {
  private images: readonly Size[] = [];
  private levels: readonly Tensor[] = [];
  private readonly options: Required<ImagePredictorOptions>;
  private readonly turns = new Turns();

  /** A predictor without an image; the model's parameters need values first. */
  constructor(readonly model: Sam2Image, options: ImagePredictorOptions = {}) {
    this.options = {
      ...{ precision: "f32", maskThreshold: 0, maxHoleArea: 0, maxSprinkleArea: 0 },
      ...options,
    };
  }

  /** Encodes an image; its features stay on the GPU until the next one. */
  async setImage(image: RgbImage): Promise<void> {
    await this.setImages([image]);
  }

  /** Encodes several images, of any sizes, as one batch. */
  async setImages(images: readonly RgbImage[]): Promise<void> {
    if (images.length === 0) throw new UserError("There is no image to encode.");
    const inputs = images.map((image) => transformImage(image, this.model.config.imageSize));
    const sizes = images.map(({ width, height }) => ({ width, height }));
    await this.turns.take(async () => {
      await this.clear();
      const levels = autocast(this.options.precision, () => {
        const features = this.model.forwardImage(cat(inputs, 0));
        return [...features.levels.slice(0, -1), this.model.withoutMemory(features)];
      });
      await this.keep(levels, sizes);
    });
  }

  /** The embedding of an image, to be kept and given to {@link setEmbedding} later. */
  embedding(image = 0): Promise<ImageEmbedding> {
    return this.turns.take(async () => {
      const { width, height } = this.sizeOf(image);
      const levels = this.levelsOf(image);
      const data = await readAll(levels.map((level) => cast(level, "f32"))) as Float32Array[];
      return { width, height, levels: levels.map(({ shape }, i) => ({ shape, data: data[i] })) };
    });
  }

  /**
   * Sets an image by its embedding, without encoding it again.
   *
   * @throws {UserError} where it was made by a model of other sizes; then what was set remains.
   */
  async setEmbedding({ width, height, levels }: ImageEmbedding): Promise<void> {
    const { imageSize, dModel } = this.model.config;
    const wanted = [8, 4, 1].map((share, i) => {
      const side = imageSize / (4 << i);
      return [1, dModel / share, side, side];
    });
    const found = levels.map(({ shape }) => [...shape]);
    if (JSON.stringify(found) !== JSON.stringify(wanted)) {
      throw new UserError(
        `The embedding has levels of ${JSON.stringify(found)}; this model's are ` +
          `${JSON.stringify(wanted)}.`,
      );
    }
    const tensors = levels.map(({ shape, data }) => tensor(data, shape));
    await this.turns.take(async () => {
      await this.clear();
      await this.keep(tensors, [{ width, height }]);
    });
  }

  /** Frees the features of the images. */
  reset(): Promise<void> {
    return this.turns.take(() => this.clear());
  }

  /** Computes the features of images, which stay on the GPU. */
  private async keep(levels: readonly Tensor[], images: readonly Size[]): Promise<void> {
    await evaluate(levels);
    // Fresh leaves, so that the graph of the encoder and the pixels can go.
    this.levels = levels.map((level) => leaf(level.storage!, level.shape, level.dtype));
    this.images = images;
  }

  /** Lets go of the images, in their turn. */
  private async clear(): Promise<void> {
    await dispose(this.levels);
    this.levels = [];
    this.images = [];
  }

  /**
   * Strides 4, 8 and 16 of all images, the last one with `no_mem_embed`: what the mask decoder takes.
   * In half precision some of them are f16.
   *
   * @throws {UserError} where no image is set.
   */
  get features(): readonly Tensor[] {
    this.sizeOf(0);
    return this.levels;
  }

  /**
   * Predicts the masks of objects.
   *
   * @param prompts one per object; all of the same kinds, with the same number of points.
   * @throws {UserError} where no image is set, or where the prompts differ in kind.
   */
  async predict(
    prompts: readonly ObjectPrompt[],
    options: PredictOptions = {},
  ): Promise<Prediction> {
    // Who has made the call may change them before it has its turn.
    const own = prompts.map(copyPrompt);
    return await this.turns.take(() => this.predicted(own, options));
  }

  /** Masks of the image that is set, in their turn. */
  private async predicted(
    prompts: readonly ObjectPrompt[],
    { multimask = true, image = 0, normalized = false }: PredictOptions,
  ): Promise<Prediction> {
    const { width, height } = this.sizeOf(image);
    const extent = normalized ? { width: 1, height: 1 } : { width, height };
    const { imageSize } = this.model.config;
    const { maskSize } = this.model.sam_prompt_encoder;
    const tensors = promptTensors(prompts, { ...extent, imageSize, maskSize });
    const lazy = this.predictTensors(tensors, multimask, image);
    const [objects, masksPerObject, h, w] = lazy.decoded.shape;
    const decoded = reshape(lazy.decoded, [objects * masksPerObject, 1, h, w]);
    const finished = await this.removeSmallRegions(decoded);
    const { logits: maskLogits, others: [ious, lowResLogits] } = await readMasks(
      finished,
      [height, width],
      [lazy.ious, lazy.lowResLogits],
    );
    return { maskLogits, ious, lowResLogits, masksPerObject };
  }

  /** The same on tensors and without evaluation. */
  predictTensors(
    { coords, labels, masks }: TensorPrompts,
    multimask: boolean,
    image = 0,
  ): LazyPrediction {
    const { width, height } = this.sizeOf(image);
    const levels = this.levelsOf(image);
    const { sam_prompt_encoder: encoder, sam_mask_decoder: decoder } = this.model;
    const points = coords && labels ? { coords, labels } : undefined;
    const { masks: decoded, ious } = autocast(this.options.precision, () => {
      const prompts = encoder.forward({ points, masks });
      const imagePositions = encoder.densePositions();
      const image = { imageEmbeddings: levels[levels.length - 1], imagePositions };
      return decoder.forward({ ...image, ...prompts, highRes: levels.slice(0, -1) }, multimask);
    });
    return {
      // Only where it is asked for: many masks of a large image exceed what a tensor may have.
      get maskLogits() {
        return interpolate(decoded, { size: [height, width], mode: "bilinear" });
      },
      ious,
      lowResLogits: promptLogits(decoded),
      decoded,
    };
  }

  /** Fills holes and removes sprinkles of low-resolution logits [N, 1, h, w], where that is asked for. */
  async removeSmallRegions(decoded: Tensor): Promise<Tensor> {
    const { maskThreshold, maxHoleArea, maxSprinkleArea } = this.options;
    if (maxHoleArea <= 0 && maxSprinkleArea <= 0) return decoded;
    const [height, width] = decoded.shape.slice(2);
    const rules = [
      {
        inside: (logit: number) => logit <= maskThreshold,
        maxArea: maxHoleArea,
        value: maskThreshold + REGION_LOGIT,
      },
      {
        inside: (logit: number) => logit > maskThreshold,
        maxArea: maxSprinkleArea,
        value: maskThreshold - REGION_LOGIT,
      },
    ];
    const logits = await read(decoded) as Float32Array;
    return tensor(replaceSmallRegions(logits, height, width, rules), decoded.shape);
  }

  /** Features of one image. */
  private levelsOf(image: number): readonly Tensor[] {
    if (this.images.length === 1) return this.levels;
    return this.levels.map((level) => slice(level, 0, image, image + 1));
  }

  /** Size of an image. @throws {UserError} where it is not set. */
  private sizeOf(image: number): Size {
    if (this.images.length === 0) throw new UserError("Set an image before predicting masks.");
    const size = this.images[image];
    if (!size) {
      throw new UserError(`There is no image ${image}: ${this.images.length} are set.`);
    }
    return size;
  }
}

interface Size {
  readonly width: number;
  readonly height: number;
}
