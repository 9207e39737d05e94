import { Conv2d, Linear, MLP, Module, Parameter, truncatedNormal } from "../../engine/nn/mod.ts";
import type { Sam2Config } from "../config.ts";
import { ImageEncoder } from "./image_encoder.ts";
import { MaskDecoder } from "./mask_decoder.ts";
import { MemoryAttention } from "./memory_attention.ts";
import { MemoryEncoder } from "./memory_encoder.ts";
import { PromptEncoder } from "./prompt_encoder.ts";

const EMBED_STD = 0.02;

/** Pixels per side of a cell of the image embedding. */
export const EMBEDDING_STRIDE = 16;

/** The parameters of SAM-2, with the keys and the order of the official state dict. */
export class Sam2Modules extends Module {
  /** Temporal position of memories; the last row is for prompted frames, the first for the nearest. */
  readonly maskmem_tpos_enc: Parameter;
  /** Added to the features of frames that attend to no memory. */
  readonly no_mem_embed: Parameter;
  /** Part of the official state dict, but never read. */
  readonly no_mem_pos_enc: Parameter;
  /** Object pointer of an object that is not in the image. */
  readonly no_obj_ptr: Parameter;
  /** Added to memories of frames without the object (SAM 2.1). */
  readonly no_obj_embed_spatial: Parameter | undefined;
  /** Makes the feature pyramid of an image. */
  readonly image_encoder: ImageEncoder;
  /** Shrinks a given mask to the size of mask prompts. */
  readonly mask_downsample: Conv2d;
  /** Conditions a frame on memories. */
  readonly memory_attention: MemoryAttention;
  /** Makes the memory of a frame. */
  readonly memory_encoder: MemoryEncoder;
  /** Encodes points, boxes and masks. */
  readonly sam_prompt_encoder: PromptEncoder;
  /** Predicts masks from an embedding and prompts. */
  readonly sam_mask_decoder: MaskDecoder;
  /** Makes the object pointer from a mask token. */
  readonly obj_ptr_proj: MLP;
  /** Narrows the temporal position of pointers to `memDim` (SAM 2.1). */
  readonly obj_ptr_tpos_proj: Linear | undefined;

  /** Builds the tree; no parameter gets memory or values yet. */
  constructor(readonly config: Sam2Config) {
    super();
    const { dModel, memDim, imageSize } = config;
    if (imageSize % 32 !== 0) {
      throw new RangeError(`Sam2: image size ${imageSize} is not a multiple of 32.`);
    }
    if (dModel % memDim !== 0) {
      throw new RangeError(`Sam2: memDim ${memDim} does not divide dModel ${dModel}.`);
    }
    const embed = (...shape: number[]) => new Parameter(shape, truncatedNormal(EMBED_STD));
    this.maskmem_tpos_enc = embed(config.numMaskmem, 1, 1, memDim);
    this.no_mem_embed = embed(1, 1, dModel);
    this.no_mem_pos_enc = embed(1, 1, dModel);
    this.no_obj_ptr = embed(1, dModel);
    this.no_obj_embed_spatial = config.noObjEmbedSpatial ? embed(1, memDim) : undefined;
    this.image_encoder = new ImageEncoder(config);
    this.mask_downsample = new Conv2d(1, 1, 4, { stride: 4 });
    this.memory_attention = new MemoryAttention(dModel, memDim, config.memoryAttention);
    this.memory_encoder = new MemoryEncoder(dModel, memDim, config.fuserLayers);
    this.sam_prompt_encoder = new PromptEncoder(
      dModel,
      imageSize,
      imageSize / EMBEDDING_STRIDE,
      config.maskInChans,
    );
    this.sam_mask_decoder = new MaskDecoder(dModel, config.maskDecoder);
    this.obj_ptr_proj = new MLP(dModel, dModel, dModel, 3);
    this.obj_ptr_tpos_proj = config.addTposEncToObjPtrs ? new Linear(dModel, memDim) : undefined;
  }
  /**
   * Lets gradients compute the values inside the trunk's blocks, the layers of the memory attention and
   * the mask decoder anew instead of keeping them: less memory, about a third more time.
   */
  useCheckpointing(): void {
    for (const part of [this.image_encoder.trunk, this.memory_attention, this.sam_mask_decoder]) {
      part.checkpointing = true;
    }
  }
}
