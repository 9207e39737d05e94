/** Which parts of SAM-2 are tuned, and how fast. */
import type { Module } from "../../engine/nn/mod.ts";

/** Parts that can be frozen, by the beginnings of their keys. */
export const PARTS = {
  trunk: ["image_encoder.trunk."],
  neck: ["image_encoder.neck."],
  memory: [
    "memory_attention.",
    "memory_encoder.",
    "maskmem_tpos_enc",
    "no_mem_",
    "no_obj_",
    "mask_downsample.",
    "obj_ptr_",
  ],
  prompts: ["sam_prompt_encoder."],
  decoder: ["sam_mask_decoder."],
} as const satisfies Readonly<Record<string, readonly string[]>>;

/** Name of a part. */
export type PartName = keyof typeof PARTS;

const TRUNK = "image_encoder.trunk.";
const BLOCK = /^image_encoder\.trunk\.blocks\.(\d+)\./;

/** The trunk learns more slowly than the rest: 3e-6 to 5e-6 in the official configuration. */
const TRUNK_SCALE = 0.6;

/** Keeps the parameters of some parts as they are. Call it before they are put into flat buffers. */
export function freeze(model: Module, parts: readonly PartName[]): void {
  const prefixes = parts.flatMap((part): readonly string[] => PARTS[part]);
  for (const [key, parameter] of model.namedParameters()) {
    if (prefixes.some((prefix) => key.startsWith(prefix))) parameter.trainable = false;
  }
}

/**
 * Factor of the learning rate by key. In the trunk it falls by `decay` from block to block towards the
 * image; position embeddings are exempt.
 *
 * @param blocks blocks of the trunk.
 */
export function layerScale(blocks: number, decay: number): (key: string) => number {
  return (key) => {
    if (!key.startsWith(TRUNK)) return 1;
    if (key.includes("pos_embed")) return TRUNK_SCALE;
    const block = BLOCK.exec(key);
    return TRUNK_SCALE * decay ** (blocks - (block ? Number(block[1]) : -1));
  };
}

/** Weights decay; biases, norms and embeddings of one dimension do not. */
export function decays({ shape }: { readonly shape: readonly number[] }): boolean {
  return shape.length > 1;
}
