/** What the commands need of a trainer. */
import type { StoredTensor } from "../../engine/safetensors.ts";
import type { SssConfig } from "../../model/sss/config.ts";
import type { Volume } from "../data/dataset.ts";

export type Method = "sss" | "supervised" | "fixmatch";

export interface TrainOptions {
  readonly method: Method;
  readonly model: "nano" | "t" | "s" | "b+" | "l";
  readonly size: number;
  readonly seed: number;
  readonly steps: number;
  readonly batchLabelled: number;
  readonly batchUnlabelled: number;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly clip: number;
  readonly sss: SssConfig;
}

export interface StepReport {
  readonly step: number;
  readonly losses: Record<string, number>;
  readonly images: number;
  readonly learningRate: number;
  readonly milliseconds: { readonly total: number; readonly host: number };
}

export interface Prediction {
  readonly labels: Uint8Array;
  readonly probabilities: Float32Array;
}

export interface SavedTrainer {
  readonly tensors: Map<string, StoredTensor>;
  readonly state: unknown;
}

export interface Trainer {
  step(): Promise<StepReport>;
  readonly position: number;
  save(): Promise<SavedTrainer>;
  load(saved: SavedTrainer): Promise<void>;
  predict(volume: Volume, prompts: "pcsw" | "oracle"): Promise<Prediction>;
}
