/** Layers, parameters and state dicts. */
export { Conv2d, type Conv2dOptions, ConvTranspose2d } from "./conv.ts";
export { Embedding } from "./embedding.ts";
export { fanIn, filledWith, normal, truncatedNormal, uniform } from "./initialisers.ts";
export { Linear } from "./linear.ts";
export { MLP, type MlpOptions } from "./mlp.ts";
export { Module } from "./module.ts";
export { BatchNorm2d, LayerNorm, LayerNorm2d } from "./normalization.ts";
export { type Initialiser, Parameter } from "./parameter.ts";
export { type Random, seededRandom, seedOf } from "./random.ts";
export {
  compareStateDict,
  initialise,
  initialValues,
  loadStateDict,
  stateDict,
  StateDictError,
  type StateDifference,
  type StateTensor,
} from "./state_dict.ts";
export { Training } from "./training.ts";
