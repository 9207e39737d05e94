/** The models: SAM-2 on images and frames, and SSS on top of it. */
export {
  type ConfigName,
  CONFIGS,
  type HieraConfig,
  type MaskDecoderConfig,
  type MemoryAttentionConfig,
  type Sam2Config,
} from "./config.ts";
export { configOf } from "./checkpoint_config.ts";
export { readOfficialConfig } from "./official_config.ts";
export {
  type ImageEmbedding,
  ImagePredictor,
  type ImagePredictorOptions,
  type LazyPrediction,
  type Prediction,
  type PredictOptions,
} from "./sam2/image_predictor.ts";
export type { ObjectPrompt, Point, TensorPrompts } from "./sam2/image_prompts.ts";
export type { RgbImage } from "./sam2/image_transform.ts";
export type { Box, BoxXywh } from "./predictors/boxes.ts";
export { AutomaticMaskGenerator, type GenerateOptions } from "./predictors/mask_generator.ts";
export type {
  AutomaticMaskOptions,
  MaskBatchReport,
  MaskOutput,
  MaskRecord,
} from "./predictors/mask_options.ts";
export {
  type CocoRle,
  decodeCocoRle,
  encodeCocoRle,
  maskToRle,
  rleArea,
  rleToMask,
  type UncompressedRle,
} from "./predictors/rle.ts";
export {
  type CleanedMask,
  type CleanedMasks,
  postprocessSmallRegions,
  removeSmallRegions,
} from "./predictors/small_regions.ts";
export {
  arrayFrames,
  collectFrames,
  type Frames,
  type FrameSource,
  streamFrames,
  type StreamOptions,
} from "./predictors/frame_source.ts";
export { type PillowFilter, type Raster, resizePillow } from "./predictors/pillow_resize.ts";
export {
  intensityRange,
  type ScanVolume,
  type VolumeAxis,
  volumeFrames,
} from "./predictors/volume_source.ts";
export {
  type VolumeLabels,
  type VolumeOptions,
  VolumePredictor,
} from "./predictors/volume_predictor.ts";
export { type RemovedObject, VideoPredictor } from "./predictors/video_predictor.ts";
export type {
  BinaryMask,
  FrameMasks,
  ObjectMemory,
  PointsPrompt,
  PropagateOptions,
  VideoOptions,
} from "./predictors/video_options.ts";
export {
  type EncodeMemoryOptions,
  type FrameOutput,
  type MemoryBank,
  Sam2,
  type TrackStepInput,
} from "./sam2/sam2.ts";
export {
  type ImageFeatures,
  Sam2Image,
  type SamHeadsOptions,
  type SamHeadsOutput,
  type SamPrompts,
} from "./sam2/sam2_image.ts";
export { Sam2Modules } from "./sam2/sam2_modules.ts";
export type { FpnNeck, Lateral, PyramidFeatures } from "./sam2/fpn_neck.ts";
export type {
  EncodedPrompts,
  EncoderPrompts,
  PointPrompt,
  PromptEncoder,
} from "./sam2/prompt_encoder.ts";
export type {
  CXBlock,
  EncodedMemory,
  Fuser,
  MaskDownSampler,
  MemoryEncoder,
} from "./sam2/memory_encoder.ts";
export type {
  SelectedMemory,
  SelectionConfig,
  SelectionQuery,
  TrackingOutputs,
} from "./sam2/memory_selection.ts";
export type {
  LayerContext,
  MemoryAttention,
  MemoryAttentionLayer,
  MemoryAttentionOptions,
  MemoryTokens,
} from "./sam2/memory_attention.ts";
export type { MaskDecoder, MaskDecoderInputs, MaskDecoderOutput } from "./sam2/mask_decoder.ts";
export type { ImageEncoder } from "./sam2/image_encoder.ts";
export type {
  BlockConfig,
  Hiera,
  MultiScaleAttention,
  MultiScaleBlock,
  PatchEmbed,
} from "./sam2/hiera.ts";
export type {
  Attention,
  AttentionConfig,
  AttentionOptions as AttentionModuleOptions,
} from "./sam2/attention.ts";
export type { PositionEmbeddingRandom } from "./sam2/position_encoding.ts";
export type {
  Pair as TokensAndImage,
  TwoWayAttentionBlock,
  TwoWayConfig,
  TwoWayTransformer,
} from "./sam2/two_way_transformer.ts";
export type { Trace } from "./sam2/trace.ts";
export type {
  ClassMasks,
  CoarseOptions,
  DrawnMemories,
  ObjectPrompts,
  SssParts,
} from "./sss/sss_model.ts";
export type { Dfe, DfeOptions, PositionMlp } from "./sss/dfe.ts";
export type { CoarseHead } from "./sss/coarse_head.ts";
export type { GateSet } from "./sss/pcsw/gates.ts";
export type { PointRule } from "./sss/pcsw/prompts.ts";
export type { Connectivity } from "./sss/pcsw/volume.ts";
export { type RampUp, type SssConfig, sssConfig, sssDefaults } from "./sss/config.ts";
export { SssModel } from "./sss/sss_model.ts";
