/** A model of the smallest size with repeatable weights, and videos for it. */
import { flatten, numel, reshape, slice, type Tensor, zeros } from "../engine/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { CONFIGS, type Sam2Config } from "../model/config.ts";
import type { RgbImage } from "../model/sam2/image_transform.ts";
import type { ImageFeatures } from "../model/sam2/sam2_image.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { values } from "./close.ts";

/** Side of the model input. */
export const SIZE = 32;

/** Every part of the model once, with few channels: it looks back 4 frames, so short clips show all. */
const SMALLEST: Sam2Config = {
  ...CONFIGS.nano,
  imageSize: SIZE,
  dModel: 32,
  memDim: 8,
  fuserLayers: 1,
  numMaskmem: 3,
  maxObjPtrsInEncoder: 4,
  trunk: { ...CONFIGS.nano.trunk, embedDim: 16, stages: [1, 1, 1, 1], globalAttBlocks: [2] },
  memoryAttention: { ...CONFIGS.nano.memoryAttention, numLayers: 1, dimFeedforward: 32 },
  maskDecoder: {
    ...CONFIGS.nano.maskDecoder,
    transformerDepth: 1,
    transformerMlpDim: 32,
    iouHeadHiddenDim: 32,
  },
};

/** The smallest model with random weights, in GPU memory. */
export async function smallModel(changes: Partial<Sam2Config> = {}): Promise<Sam2> {
  const model = new Sam2({ ...SMALLEST, ...changes });
  await FlatParameters.create(model, { seed: 3 });
  return model;
}

/** A model that takes some pixels for features: 2,000 frames are soon tracked. */
class WithoutEncoder extends Sam2 {
  override forwardImage(images: Tensor): ImageFeatures {
    const { dModel } = this.config;
    const levels = [8, 4, 1].map((share, i) => {
      const side = SIZE / (4 << i);
      const shape = [1, dModel / share, side, side];
      return reshape(slice(flatten(images, 0), 0, 0, numel(shape)), shape);
    });
    return { levels, positions: levels.map(({ shape }) => zeros([1, dModel, ...shape.slice(2)])) };
  }
}

/** The smallest model without its image encoder, in GPU memory. */
export async function modelWithoutEncoder(): Promise<Sam2> {
  const model = new WithoutEncoder(SMALLEST);
  await FlatParameters.create(model, { seed: 3 });
  return model;
}

/** An image of noise with a bright square that moves with `seed`. */
export function picture(seed: number, width = 24, height = 20): RgbImage {
  const noise = values(width * height * 3, seed + 1);
  const data = Uint8Array.from(noise, (v, i) => {
    const [x, y] = [Math.floor(i / 3) % width, Math.floor(i / 3 / width)];
    const inside = Math.abs(x - 6 - seed % 9) < 4 && Math.abs(y - 9) < 4;
    return inside ? 220 + 20 * v : 90 + 60 * v;
  });
  return { data, width, height };
}

/** Some frames of that kind. */
export function clip(count: number): RgbImage[] {
  return Array.from({ length: count }, (_, t) => picture(t));
}
