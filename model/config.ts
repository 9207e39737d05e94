/** Configurations of SAM-2: sizes of every module and the switches that matter. */

/** Hiera, the image encoder's trunk. */
export interface HieraConfig {
  /** Channels of the first stage; they double with each stage. */
  readonly embedDim: number;
  /** Attention heads of the first stage; they double with each stage. */
  readonly numHeads: number;
  /** Blocks per stage. */
  readonly stages: readonly number[];
  /** Window side per stage. */
  readonly windowSpec: readonly number[];
  /** Blocks that attend to the whole map. */
  readonly globalAttBlocks: readonly number[];
  /** [height, width] of the learned position embedding, resized to the map. */
  readonly posEmbedSize: readonly [number, number];
}

/** Attention to the memory bank. */
export interface MemoryAttentionConfig {
  /** Transformer layers. */
  readonly numLayers: number;
  /** Hidden units of each layer. */
  readonly dimFeedforward: number;
  /** Rate in training mode, for attention weights, hidden units and residuals. */
  readonly dropout: number;
  /** Base of the frequencies of the rotary position encoding. */
  readonly ropeTheta: number;
}

/** The SAM mask decoder. */
export interface MaskDecoderConfig {
  /** Masks besides the single one. */
  readonly numMultimaskOutputs: number;
  /** Layers of the two-way transformer. */
  readonly transformerDepth: number;
  /** Attention heads of each layer. */
  readonly transformerHeads: number;
  /** Hidden units of each layer. */
  readonly transformerMlpDim: number;
  /** Linear layers of the head that predicts overlaps. */
  readonly iouHeadDepth: number;
  /** Hidden units of that head. */
  readonly iouHeadHiddenDim: number;
  /** Whether a sigmoid follows that head. */
  readonly iouPredictionUseSigmoid: boolean;
  /** Whether the maps of strides 4 and 8 sharpen the masks. */
  readonly useHighResFeatures: boolean;
  /** Whether a token tells if the object is in the image. */
  readonly predObjScores: boolean;
  /** Three layers instead of one for that score. */
  readonly predObjScoresMlp: boolean;
  /** Whether the object pointer comes from the chosen one of several masks. */
  readonly useMultimaskTokenForObjPtr: boolean;
  /** In evaluation mode, replaces an unstable single mask by the best of the others. */
  readonly dynamicMultimaskViaStability: boolean;
  /** Stability compares the areas above plus and minus this logit. */
  readonly dynamicMultimaskStabilityDelta: number;
  /** Least stability of a single mask that is kept. */
  readonly dynamicMultimaskStabilityThresh: number;
}

/** A SAM-2 model. */
export interface Sam2Config {
  /** Side of the square input in pixels, a multiple of 32. */
  readonly imageSize: number;
  /** Channels after the neck. */
  readonly dModel: number;
  /** The image encoder's trunk. */
  readonly trunk: HieraConfig;
  /** Levels that receive the upsampled coarser level. */
  readonly fpnTopDownLevels: readonly number[];
  /** Coarsest levels that are dropped after the neck. */
  readonly scalp: number;
  /** Attention to the memory bank. */
  readonly memoryAttention: MemoryAttentionConfig;
  /** Channels of a memory; divides `dModel`. */
  readonly memDim: number;
  /** Blocks that fuse image features and mask into a memory. */
  readonly fuserLayers: number;
  /** Hidden channels of the mask-prompt downscaling. */
  readonly maskInChans: number;
  /** The mask decoder. */
  readonly maskDecoder: MaskDecoderConfig;

  /** Frames in the memory bank: conditioning frames plus `numMaskmem - 1` others. */
  readonly numMaskmem: number;
  /** Conditioning frames that one frame attends to; -1 for all, else at least 2. */
  readonly maxCondFramesInAttn: number;
  /** Spacing of the remembered frames in evaluation mode. */
  readonly memoryTemporalStrideForEval: number;
  /** Mask probabilities are scaled and shifted before the memory encoder. */
  readonly sigmoidScaleForMemEnc: number;
  /** The shift of the probabilities. */
  readonly sigmoidBiasForMemEnc: number;
  /** In evaluation mode, masks of clicked frames are made binary for the memory. */
  readonly binarizeMaskFromPtsForMemEnc: boolean;
  /** In evaluation mode, a pixel belongs to one object at most in memories. */
  readonly nonOverlapMasksForMemEnc: boolean;
  /** A mask prompt is the output, without the mask decoder. */
  readonly useMaskInputAsOutputWithoutSam: boolean;
  /** Marks memories of frames without the object (SAM 2.1). */
  readonly noObjEmbedSpatial: boolean;

  /** Whether several masks may be predicted for clicks at all. */
  readonly multimaskOutputInSam: boolean;
  /** Whether they may be on frames that have been tracked before. */
  readonly multimaskOutputForTracking: boolean;
  /** Several masks are predicted for this many points. */
  readonly multimaskMinPtNum: number;
  /** Several masks are predicted for at most this many points. */
  readonly multimaskMaxPtNum: number;

  /** Object pointers come from frames nearer than this, and from conditioning frames. */
  readonly maxObjPtrsInEncoder: number;
  /** Temporal position of object pointers (SAM 2.1); otherwise they have none. */
  readonly addTposEncToObjPtrs: boolean;
  /** Whether that position knows past from future. */
  readonly useSignedTposEncToObjPtrs: boolean;
  /** In evaluation mode, pointers of conditioning frames in the future are left out. */
  readonly onlyObjPtrsInThePastForEval: boolean;
  /** Mixes `no_obj_ptr` in by the object's probability instead of by a threshold. */
  readonly softNoObjPtr: boolean;
}

/** Sizes that the official class fixes in code, and its usual switches. */
export const MASK_DECODER: MaskDecoderConfig = {
  numMultimaskOutputs: 3,
  transformerDepth: 2,
  transformerHeads: 8,
  transformerMlpDim: 2048,
  iouHeadDepth: 3,
  iouHeadHiddenDim: 256,
  iouPredictionUseSigmoid: true,
  useHighResFeatures: true,
  predObjScores: true,
  predObjScoresMlp: true,
  useMultimaskTokenForObjPtr: true,
  dynamicMultimaskViaStability: false,
  dynamicMultimaskStabilityDelta: 0.05,
  dynamicMultimaskStabilityThresh: 0.98,
};

/** What the official predictors add to a decoder: a fall-back for unstable single masks. */
export const STABLE_SINGLE_MASK = { dynamicMultimaskViaStability: true } as const;

type Trunks = Readonly<Record<"t" | "s" | "b+" | "l", HieraConfig>>;

const TRUNKS: Trunks = {
  t: {
    embedDim: 96,
    numHeads: 1,
    stages: [1, 2, 7, 2],
    windowSpec: [8, 4, 14, 7],
    globalAttBlocks: [5, 7, 9],
    posEmbedSize: [7, 7],
  },
  s: {
    embedDim: 96,
    numHeads: 1,
    stages: [1, 2, 11, 2],
    windowSpec: [8, 4, 14, 7],
    globalAttBlocks: [7, 10, 13],
    posEmbedSize: [7, 7],
  },
  "b+": {
    embedDim: 112,
    numHeads: 2,
    stages: [2, 3, 16, 3],
    windowSpec: [8, 4, 14, 7],
    globalAttBlocks: [12, 16, 20],
    posEmbedSize: [14, 14],
  },
  l: {
    embedDim: 144,
    numHeads: 2,
    stages: [2, 6, 36, 4],
    windowSpec: [8, 4, 16, 8],
    globalAttBlocks: [23, 33, 43],
    posEmbedSize: [7, 7],
  },
};

const SAM2_1: Omit<Sam2Config, "trunk"> = {
  imageSize: 1024,
  dModel: 256,
  fpnTopDownLevels: [2, 3],
  scalp: 1,
  memoryAttention: { numLayers: 4, dimFeedforward: 2048, dropout: 0.1, ropeTheta: 10000 },
  memDim: 64,
  fuserLayers: 2,
  maskInChans: 16,
  maskDecoder: MASK_DECODER,
  numMaskmem: 7,
  maxCondFramesInAttn: -1,
  memoryTemporalStrideForEval: 1,
  sigmoidScaleForMemEnc: 20,
  sigmoidBiasForMemEnc: -10,
  binarizeMaskFromPtsForMemEnc: false,
  nonOverlapMasksForMemEnc: false,
  useMaskInputAsOutputWithoutSam: true,
  noObjEmbedSpatial: true,
  multimaskOutputInSam: true,
  multimaskOutputForTracking: true,
  multimaskMinPtNum: 0,
  multimaskMaxPtNum: 1,
  maxObjPtrsInEncoder: 16,
  addTposEncToObjPtrs: true,
  useSignedTposEncToObjPtrs: true,
  onlyObjPtrsInThePastForEval: true,
  softNoObjPtr: false,
};

const SAM2_0: Omit<Sam2Config, "trunk"> = {
  ...SAM2_1,
  noObjEmbedSpatial: false,
  addTposEncToObjPtrs: false,
  useSignedTposEncToObjPtrs: false,
};

/** All built-in configurations. `nano` is for training at 128 pixels on small machines. */
export const CONFIGS = {
  "sam2_hiera_t": { ...SAM2_0, trunk: TRUNKS.t },
  "sam2_hiera_s": { ...SAM2_0, trunk: TRUNKS.s },
  "sam2_hiera_b+": { ...SAM2_0, trunk: TRUNKS["b+"] },
  "sam2_hiera_l": { ...SAM2_0, trunk: TRUNKS.l },
  "sam2.1_hiera_t": { ...SAM2_1, trunk: TRUNKS.t },
  "sam2.1_hiera_s": { ...SAM2_1, trunk: TRUNKS.s },
  "sam2.1_hiera_b+": { ...SAM2_1, trunk: TRUNKS["b+"] },
  "sam2.1_hiera_l": { ...SAM2_1, trunk: TRUNKS.l },
  nano: {
    ...SAM2_1,
    imageSize: 128,
    dModel: 64,
    memDim: 16,
    memoryAttention: { ...SAM2_1.memoryAttention, numLayers: 2, dimFeedforward: 256 },
    trunk: {
      embedDim: 32,
      numHeads: 1,
      stages: [1, 2, 3, 2],
      windowSpec: [8, 4, 8, 4],
      globalAttBlocks: [4],
      posEmbedSize: [7, 7],
    },
  },
} as const satisfies Readonly<Record<string, Sam2Config>>;

/** Name of a built-in configuration. */
export type ConfigName = keyof typeof CONFIGS;
