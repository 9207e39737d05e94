/** Tells the configuration of a checkpoint from its keys and shapes. */
import { sameShape, type Shape } from "../engine/shape.ts";
import { type ConfigName, CONFIGS, type Sam2Config } from "./config.ts";

const PATCHES = "image_encoder.trunk.patch_embed.proj.weight";
const POSITIONS = "image_encoder.trunk.pos_embed";
const NECK = "image_encoder.neck.convs.0.conv.weight";
/** Only SAM 2.1 has it. */
const NO_OBJECT = "no_obj_embed_spatial";
const BLOCK = /^image_encoder\.trunk\.blocks\.(\d+)\./;

/**
 * The built-in configuration whose trunk, width and version a state dict has. Whether every key fits
 * is for `loadWeights` to say.
 *
 * @param tensors the state dict, official keys to shapes.
 * @returns `undefined` where no built-in configuration is like it.
 */
export function configOf(
  tensors: ReadonlyMap<string, { readonly shape: Shape }>,
): ConfigName | undefined {
  const blocks = new Set([...tensors.keys()].map((key) => BLOCK.exec(key)?.[1]));
  blocks.delete(undefined);
  const names = Object.keys(CONFIGS) as ConfigName[];
  return names.find((name) => {
    const config: Sam2Config = CONFIGS[name];
    return config.trunk.stages.reduce((sum, count) => sum + count, 0) === blocks.size &&
      config.noObjEmbedSpatial === tensors.has(NO_OBJECT) && widthsFit(config, tensors);
  });
}

function widthsFit(
  { trunk, dModel }: Sam2Config,
  tensors: ReadonlyMap<string, { readonly shape: Shape }>,
): boolean {
  const [height, width] = trunk.posEmbedSize;
  const deepest = trunk.embedDim * 2 ** (trunk.stages.length - 1);
  const wanted: readonly (readonly [string, Shape])[] = [
    [PATCHES, [trunk.embedDim, 3, 7, 7]],
    [POSITIONS, [1, trunk.embedDim, height, width]],
    [NECK, [dModel, deepest, 1, 1]],
  ];
  return wanted.every(([key, shape]) => {
    const found = tensors.get(key)?.shape;
    return found !== undefined && sameShape(found, shape);
  });
}
