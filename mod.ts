/**
 * SAM-2 and semi-supervised segmentation on WebGPU: the engine (tensors, gradients, layers,
 * optimisers) and the models.
 *
 * @module
 */
export * from "./engine/mod.ts";
