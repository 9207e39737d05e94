/** Checkpoints: reading and writing weights of PyTorch and safetensors. */
export { type CheckpointDType, toFloat32 } from "./dtypes.ts";
export {
  type CheckpointFile,
  type CheckpointFormat,
  type CheckpointTensor,
  openCheckpoint,
} from "./open.ts";
export { type LoadOptions, loadWeights, saveWeights } from "./weights.ts";
export { type TensorsToWrite, writeCheckpoint } from "./write.ts";
