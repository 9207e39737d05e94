/** The parts of SAM-2 as graphs that run by themselves. */
import { add, constant, gradients, mean, square, type Tensor } from "../engine/mod.ts";
import { CONFIGS, type Sam2Config } from "../model/config.ts";
import { type MemoryBank, Sam2 } from "../model/sam2/sam2.ts";
import type { ImageFeatures } from "../model/sam2/sam2_image.ts";
import type { Workload } from "./inventory.ts";
import { noise } from "./replay.ts";

/** Names of the parts. */
export const PARTS = ["encoder", "mask decoder", "memory attention", "memory encoder"] as const;

/** One of {@link PARTS}. */
export type PartName = typeof PARTS[number];

/** A part of a model on inputs of its own. */
export interface Part extends Workload {
  readonly part: PartName;
  /** Shapes of what the part is given. */
  readonly shape: string;
  readonly model: Sam2;
  /** Builds the graph anew, as every frame or training step does. */
  build(): { readonly forward: readonly Tensor[]; readonly loss: Tensor };
}

const LARGE = CONFIGS["sam2.1_hiera_t"];

/** The built-in configurations, and `tiny`: that of the golden data, smaller than `nano`. */
export const CONFIGURATIONS: Readonly<Record<string, Sam2Config>> = {
  ...CONFIGS,
  tiny: {
    ...LARGE,
    dModel: 32,
    memDim: 8,
    memoryAttention: { ...LARGE.memoryAttention, numLayers: 2, dimFeedforward: 64 },
    trunk: {
      embedDim: 16,
      numHeads: 1,
      stages: [1, 2, 3, 1],
      windowSpec: [8, 4, 6, 3],
      globalAttBlocks: [4],
      posEmbedSize: [5, 5],
    },
  },
};

/** The full name of a configuration of which the short or the full one is given. */
export function configNamed(name: string): string | undefined {
  return [name, `sam2.1_${name}`].find((full) => full in CONFIGURATIONS);
}

/** Values in GPU memory that stay there. */
const values = (...shape: number[]) => constant(noise(shape.reduce((a, b) => a * b, 1)), shape);

/** Features of images, as the encoder would give them. */
function features({ config }: Sam2, batch: number): ImageFeatures {
  const { dModel, imageSize } = config;
  const level = (channels: number, stride: number) =>
    values(batch, channels, imageSize / stride, imageSize / stride);
  const levels = [level(dModel / 8, 4), level(dModel / 4, 8), level(dModel, 16)];
  return { levels, positions: [4, 8, 16].map((stride) => level(dModel, stride).shape).map(place) };
}

const place = ([, ...shape]: readonly number[]) => values(1, ...shape);

/** As many memories and object pointers as a frame attends to at most. */
function bank({ config }: Sam2, batch: number): MemoryBank {
  const { numMaskmem, memDim, dModel, imageSize, maxObjPtrsInEncoder } = config;
  const side = imageSize / 16;
  return {
    memories: Array.from({ length: numMaskmem }, (_, i) => ({
      features: values(batch, memDim, side, side),
      temporalRow: i,
    })),
    pointers: Array.from({ length: maxObjPtrsInEncoder }, (_, i) => ({
      pointer: values(batch, dModel),
      distance: i + 1,
    })),
    pointerSpan: maxObjPtrsInEncoder,
  };
}

/** What a predictor keeps of a frame into which objects are tracked with full memories. */
export function trackedFrame(model: Sam2, objects: number): Tensor[] {
  const image = features(model, 1);
  const { lowResMasks, objPtr, objectScoreLogits, memory } = model.trackStep({
    frame: 1,
    numFrames: 2,
    isInitCondFrame: false,
    features: image,
    embedding: model.conditionOnMemory(image, bank(model, objects)),
    outputs: { conditioning: new Map(), tracked: new Map() },
    separateObjects: true,
  });
  return [lowResMasks, objPtr, objectScoreLogits, memory!.features];
}

type Build = () => readonly Tensor[];

/** What each part computes, one click a mask, and the shapes of its inputs. */
function builders(model: Sam2, batch: number): Record<PartName, [shape: string, build: Build]> {
  const { imageSize: size, dModel, numMaskmem } = model.config;
  const images = values(batch, 3, size, size);
  const side = size / 16;
  const embedding = `[${[batch, dModel, side, side]}]`;
  const made = features(model, batch);
  const [fine, middle, coarse] = made.levels;
  const points = {
    coords: constant(new Float32Array(batch * 2).fill(size / 2), [batch, 1, 2]),
    labels: constant(new Float32Array(batch).fill(1), [batch, 1]),
  };
  const decode = () => {
    const heads = model.forwardSamHeads(coarse, [fine, middle], { points }, { multimask: true });
    return [heads.ungatedMultimasks, heads.ious, heads.objPtr, heads.objectScoreLogits];
  };
  const memories = bank(model, batch);
  const masks = values(batch, 1, size, size);
  const scores = values(batch, 1);
  return {
    "encoder": [`[${images.shape}]`, () => model.forwardImage(images).levels],
    "mask decoder": [`${embedding}, 1 point`, decode],
    "memory attention": [
      `${embedding}, ${numMaskmem} memories`,
      () => [model.conditionOnMemory(made, memories)],
    ],
    "memory encoder": [
      `${embedding} [${masks.shape}]`,
      () => [model.encodeNewMemory(coarse, masks, scores).features],
    ],
  };
}

/**
 * The parts of a configuration at a size, with the gradients of all parameters that they read.
 *
 * @param checkpointing whether gradients compute values inside the parts anew.
 */
export function partsOf(
  config: string,
  imageSize: number,
  batch = 1,
  names: readonly PartName[] = PARTS,
  checkpointing = false,
): Part[] {
  const model = new Sam2({ ...CONFIGURATIONS[config], imageSize });
  if (checkpointing) model.useCheckpointing();
  const all = builders(model, batch);
  return names.map((part): Part => {
    const [shape, make] = all[part];
    const build = () => {
      const forward = make();
      return { forward, loss: forward.map((x) => mean(square(x))).reduce(add) };
    };
    const { forward, loss } = build();
    const parameters = model.namedParameters().map(([, parameter]) => parameter);
    const backward = gradients(loss, parameters).filter((g) => g !== undefined);
    return {
      name: `${config} ${part} ${imageSize} px`,
      part,
      shape,
      model,
      forward,
      backward: [loss, ...backward],
      build,
    };
  });
}
