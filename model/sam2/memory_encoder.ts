/** Makes a memory of a frame: its features fused with the mask of an object. */
import { add, cast, gelu, mul, permute, sigmoid, type Tensor } from "../../engine/mod.ts";
import { Conv2d, filledWith, LayerNorm2d, Linear, Module, Parameter } from "../../engine/nn/mod.ts";
import { sinePositionEncoding } from "./position_encoding.ts";
import type { Trace } from "./trace.ts";

/** Four convolutions of stride 2; each shrinks the area and grows the channels by 4. */
const DOWNSAMPLINGS = [0, 3, 6, 9] as const;
const LAYER_SCALE = 1e-6;

/** Shrinks a mask 16 times. */
export class MaskDownSampler extends Module {
  /** Convolutions and norms by their index; GELU stands between. */
  readonly encoder: Readonly<Record<number, Conv2d | LayerNorm2d>>;

  /** To `dim` channels. */
  constructor(dim: number) {
    super();
    const encoder: Record<number, Conv2d | LayerNorm2d> = {};
    let channels = 1;
    for (const i of DOWNSAMPLINGS) {
      encoder[i] = new Conv2d(channels, 4 * channels, 3, { stride: 2, padding: 1 });
      encoder[i + 1] = new LayerNorm2d(4 * channels);
      channels *= 4;
    }
    encoder[12] = new Conv2d(channels, dim, 1);
    this.encoder = encoder;
  }

  /** [B, 1, R, R] to [B, dim, R / 16, R / 16]. */
  forward(masks: Tensor): Tensor {
    let x = masks;
    for (const i of DOWNSAMPLINGS) {
      x = gelu(this.encoder[i + 1].forward(this.encoder[i].forward(x)));
    }
    return this.encoder[12].forward(x);
  }
}

/** A ConvNeXt block (Liu et al., 2022). */
export class CXBlock extends Module {
  /** Factor per channel of what the block adds, [dim]. */
  readonly gamma: Parameter;
  /** Convolution 7 x 7 of each channel by itself. */
  readonly dwconv: Conv2d;
  /** Normalises over the channels. */
  readonly norm: LayerNorm2d;
  /** Widens to 4 dim channels. */
  readonly pwconv1: Linear;
  /** Narrows to dim channels. */
  readonly pwconv2: Linear;

  /** A block for maps of `dim` channels. */
  constructor(dim: number) {
    super();
    this.gamma = new Parameter([dim], filledWith(LAYER_SCALE));
    this.dwconv = new Conv2d(dim, dim, 7, { padding: 3, groups: dim });
    this.norm = new LayerNorm2d(dim);
    this.pwconv1 = new Linear(dim, 4 * dim);
    this.pwconv2 = new Linear(4 * dim, dim);
  }

  /** [B, dim, H, W] to [B, dim, H, W]. */
  forward(x: Tensor): Tensor {
    const normalised = permute(this.norm.forward(this.dwconv.forward(x)), [0, 2, 3, 1]);
    const y = this.pwconv2.forward(gelu(this.pwconv1.forward(normalised)));
    return add(x, permute(mul(y, this.gamma), [0, 3, 1, 2]));
  }
}

/** A stack of blocks. */
export class Fuser extends Module {
  /** The blocks, first to last. */
  readonly layers: readonly CXBlock[];

  /** `layers` blocks for maps of `dim` channels. */
  constructor(dim: number, layers: number) {
    super();
    this.layers = Array.from({ length: layers }, () => new CXBlock(dim));
  }
}

/** A memory and its position encoding. */
export interface EncodedMemory {
  /** [B, memDim, H, W] */
  readonly features: Tensor;
  /** [1, memDim, H, W] */
  readonly positions: Tensor;
}

/** The memory encoder. */
export class MemoryEncoder extends Module {
  /** Brings the mask to the size and width of the features. */
  readonly mask_downsampler: MaskDownSampler;
  /** Maps the features before the mask is added, 1 x 1. */
  readonly pix_feat_proj: Conv2d;
  /** Mixes features and mask. */
  readonly fuser: Fuser;
  /** Narrows the result to `memDim` channels, 1 x 1. */
  readonly out_proj: Conv2d;

  /** An encoder for features of `dim` channels. */
  constructor(dim: number, private readonly memDim: number, fuserLayers: number) {
    super();
    this.mask_downsampler = new MaskDownSampler(dim);
    this.pix_feat_proj = new Conv2d(dim, dim, 1);
    this.fuser = new Fuser(dim, fuserLayers);
    this.out_proj = new Conv2d(dim, memDim, 1);
  }

  /**
   * Makes the memory of a frame.
   *
   * @param features of the frame, not conditioned on memories, [B, dim, R / 16, R / 16].
   * @param masks [B, 1, R, R]: logits, or values used as they are with `skipMaskSigmoid`.
   */
  forward(
    features: Tensor,
    masks: Tensor,
    { skipMaskSigmoid = false, trace }: { skipMaskSigmoid?: boolean; trace?: Trace } = {},
  ): EncodedMemory {
    const shrunk = this.mask_downsampler.forward(skipMaskSigmoid ? masks : sigmoid(masks));
    trace?.("mask_downsampler", shrunk);
    let x = add(this.pix_feat_proj.forward(features), shrunk);
    for (const [i, layer] of this.fuser.layers.entries()) {
      x = layer.forward(x);
      trace?.(`fuser${i}`, x);
    }
    const memory = cast(this.out_proj.forward(x), "f32");
    const [height, width] = memory.shape.slice(2);
    return { features: memory, positions: sinePositionEncoding(this.memDim, height, width) };
  }
}
