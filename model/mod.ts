/** The models: SAM-2 on images and frames, and SSS on top of it. */
export {
  CONFIGS,
  type ConfigName,
  type HieraConfig,
  type MaskDecoderConfig,
  type MemoryAttentionConfig,
  type Sam2Config,
} from "./config.ts";
export { readOfficialConfig } from "./official_config.ts";
export { ImagePredictor } from "./sam2/image_predictor.ts";
export { Sam2 } from "./sam2/sam2.ts";
export { type SssConfig, sssConfig, sssDefaults } from "./sss/config.ts";
export { SssModel } from "./sss/sss_model.ts";
