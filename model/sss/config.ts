/**
 * Choices of the SSS method that its sources leave open, with this project's defaults.
 *
 * @module
 */
import { acdcGates, bhsdGates, type GateSet } from "./pcsw/gates.ts";
import { oursPcsw, type PcswOptions, reportedPcsw } from "./pcsw/pcsw.ts";
import type { PointRule } from "./pcsw/prompts.ts";
import type { Connectivity } from "./pcsw/volume.ts";

/** Sigmoid-shaped ramp-up exp(-5 (1 - t)^2) of a loss weight. */
export interface RampUp {
  /** Steps until the full weight. */
  readonly steps: number;
  /** Training iterations of one step. */
  readonly iterationsPerStep: number;
}

/** All choices; make one with {@link sssConfig}. */
export interface SssConfig {
  /** Which feature streams the DFE compares. */
  readonly pair: "weak-strong" | "strong-strong";
  /** Whether the DFE's result is added to its stream, scaled by a learned factor, or replaces it. */
  readonly residual: "add" | "replace";
  /** Cosine of pooled features, one per sample and scale, or one per position. */
  readonly similarity: "global" | "spatial";
  /** Temperature of the spatial similarity's sigmoid. */
  readonly temperature: number;

  /**
   * What the coarse head reads: the finest level of the pyramid, as published, or the sum of all levels.
   * SAM-2's neck adds nothing coarser to its finest level, and a nano trunk sees windows of 32 px there.
   */
  readonly coarseLevels: "finest" | "all";

  /** Supervised loss: 0.5 (CE + Dice), CE, BCE + Dice, or BCE with positive weight 2. */
  readonly labelLoss: "ce+dice" | "ce" | "bce+dice" | "bce-pw2";
  /**
   * Loss of pseudo-labels: cross entropy, or the mean of it and Dice (UniMatch's medical recipe), which
   * weighs small organs as much as large ones.
   */
  readonly unlabelledLoss: "ce" | "ce+dice";
  /** Share of the run before the teacher is followed. */
  readonly teacherWarmup: number;
  /**
   * Least confidence of a pseudo-label; 0 takes all. The 0.95 of UniMatch V2 is for pretrained models:
   * a teacher that has seen a few patients is surer of the background than of organs, and with a
   * threshold its students learn the background from it.
   */
  readonly conf: number;
  /** Weight of the unlabelled loss. */
  readonly lambda: number;
  /** Ramp-up of `lambda`; null uses the full weight from the start. */
  readonly rampUp: RampUp | null;
  /** Weight of the "class present in this slice" loss. */
  readonly objectLossWeight: number;
  /** `figure` detaches the encoder in the unlabelled loss. */
  readonly unlabelledGrad: "student" | "figure";
  /** Largest decay of the teacher's moving average; it grows to it as 1 - 1 / (step + 1). */
  readonly emaDecay: number;

  /** The window search as published, or this project's. */
  readonly pcsw: "reported" | "ours";
  /** Training steps between two refreshes of a volume's prompts. */
  readonly pcswEvery: number;
  /** Neighbourhood of the connected components. */
  readonly connectivity: Connectivity;
  /** What happens when nothing is accepted. */
  readonly fallback: "none" | "reported";
  /** Take the first accepted window, or join all accepted windows. */
  readonly selection: "first" | "union";
  /** Least continuity of a window. */
  readonly tau: number;
  /** Largest components of a window that count together (5 for multi-focal lesions). */
  readonly parts: number;
  /** Gates by data set, given one for all classes or one for each, or null for none. */
  readonly gates: "acdc" | "bhsd" | readonly GateSet[] | null;
  /** Missing slices that a component may bridge. */
  readonly gap: number;
  /** Slices between prompts; 0 prompts the key slice alone. */
  readonly promptFreq: number;
  /** Where the point prompt is put. */
  readonly point: PointRule;
  /** Jitter of the prompt boxes in training, as a share of the side; 0 turns it off. */
  readonly boxJitter: number;
  /**
   * Whether the coarse head's class maps are given as mask prompts too, as the figure of SSS draws it.
   * Without them a nano model hardly told the classes apart after 250 steps.
   */
  readonly maskPrompt: boolean;
  /** Whether the decoder's logits are added to its mask prompt: it then refines the pseudo-mask. */
  readonly refine: boolean;

  /**
   * Whether a class whose object score is at most 0 is left out at test time, as SAM-2 does. A few
   * patients teach the score too little: a nano model then loses whole organs.
   */
  readonly presenceGate: boolean;

  /** Items of the self-sorting memory bank. */
  readonly memoryBankSize: number;
  /** How much lower a new memory's IoU may be than that of the one it replaces. */
  readonly memoryBankIouSlack: number;
}

/** Defaults. */
export const sssDefaults: SssConfig = {
  pair: "weak-strong",
  residual: "add",
  similarity: "global",
  temperature: 1,
  coarseLevels: "all",
  labelLoss: "ce+dice",
  unlabelledLoss: "ce+dice",
  teacherWarmup: 0.4,
  conf: 0,
  lambda: 0.5,
  rampUp: null,
  objectLossWeight: 1,
  unlabelledGrad: "student",
  emaDecay: 0.996,
  pcsw: "ours",
  pcswEvery: 50,
  connectivity: oursPcsw.connectivity,
  fallback: oursPcsw.fallback,
  selection: oursPcsw.selection,
  tau: oursPcsw.tau,
  parts: oursPcsw.parts,
  gates: "acdc",
  gap: oursPcsw.gap,
  promptFreq: oursPcsw.promptFreq,
  point: oursPcsw.point,
  boxJitter: 0.02,
  maskPrompt: true,
  refine: true,
  presenceGate: false,
  memoryBankSize: 16,
  memoryBankIouSlack: 0.1,
};

/** What `pcsw: "reported"` changes unless it is overridden. */
const reportedChanges: Partial<SssConfig> = {
  connectivity: reportedPcsw.connectivity,
  fallback: reportedPcsw.fallback,
  selection: reportedPcsw.selection,
  parts: reportedPcsw.parts,
  gates: reportedPcsw.gates,
  gap: reportedPcsw.gap,
  promptFreq: reportedPcsw.promptFreq,
  point: reportedPcsw.point,
  boxJitter: 0,
};

/** The ramp-up that semi-supervised baselines on ACDC use. */
export const standardRampUp: RampUp = { steps: 200, iterationsPerStep: 150 };

type NumberKey = {
  [K in keyof SssConfig]: SssConfig[K] extends number ? K : never;
}[keyof SssConfig];

/** Allowed range of each number and whether it must be whole. */
const ranges: Partial<Record<NumberKey, readonly [min: number, max: number, integer: boolean]>> = {
  temperature: [Number.MIN_VALUE, Infinity, false],
  teacherWarmup: [0, 1, false],
  conf: [0, 1, false],
  lambda: [0, Infinity, false],
  objectLossWeight: [0, Infinity, false],
  emaDecay: [0, 1, false],
  pcswEvery: [1, Infinity, true],
  tau: [0, 1, false],
  parts: [1, Infinity, true],
  gap: [0, Infinity, true],
  promptFreq: [0, Infinity, true],
  boxJitter: [0, 1, false],
  memoryBankSize: [2, Infinity, true],
  memoryBankIouSlack: [0, Infinity, false],
};

/** Allowed values of each choice. */
const choices: { readonly [K in keyof SssConfig]?: readonly SssConfig[K][] } = {
  pair: ["weak-strong", "strong-strong"],
  residual: ["add", "replace"],
  similarity: ["global", "spatial"],
  labelLoss: ["ce+dice", "ce", "bce+dice", "bce-pw2"],
  unlabelledLoss: ["ce", "ce+dice"],
  unlabelledGrad: ["student", "figure"],
  pcsw: ["reported", "ours"],
  connectivity: [6, 26],
  fallback: ["none", "reported"],
  selection: ["first", "union"],
  point: ["distance", "center"],
  maskPrompt: [true, false],
  refine: [true, false],
};

/**
 * Completes and checks a configuration. `pcsw: "reported"` switches the whole search to its
 * published form; each field can still be overridden. Throws a RangeError for an unknown name or a
 * value out of range.
 */
export function sssConfig(overrides: Partial<SssConfig> = {}): SssConfig {
  for (const key of Object.keys(overrides)) {
    if (!(key in sssDefaults)) throw new RangeError(`"${key}" is no SSS option.`);
  }
  const config: SssConfig = {
    ...sssDefaults,
    ...(overrides.pcsw === "reported" ? reportedChanges : {}),
    ...overrides,
  };
  for (const [key, [min, max, integer]] of Object.entries(ranges)) {
    const value = config[key as NumberKey];
    if (!(value >= min && value <= max) || (integer && !Number.isInteger(value))) {
      const kind = integer ? "an integer" : "a number";
      throw new RangeError(`${key} must be ${kind} from ${min} to ${max}, not ${value}.`);
    }
  }
  if (typeof config.gates === "string" && !["acdc", "bhsd"].includes(config.gates)) {
    throw new RangeError(`gates must be acdc, bhsd, null or a list, not ${config.gates}.`);
  }
  for (const [key, allowed] of Object.entries(choices)) {
    const value = config[key as keyof SssConfig];
    if (!(allowed as readonly unknown[]).includes(value)) {
      throw new RangeError(`${key} must be one of ${allowed.join(", ")}, not ${value}.`);
    }
  }
  return config;
}

/** The window search that a configuration describes. `maskPromptSize` is used if mask prompts are on. */
export function pcswOptions(config: SssConfig, maskPromptSize = 0): PcswOptions {
  const gates = config.gates === "acdc"
    ? acdcGates
    : config.gates === "bhsd"
    ? bhsdGates
    : config.gates;
  const { selection, connectivity, tau, parts, gap, point, promptFreq, fallback } = config;
  return {
    ...(config.pcsw === "reported" ? reportedPcsw : oursPcsw),
    ...{ selection, connectivity, tau, parts, gates, gap, point, promptFreq, fallback },
    maskPromptSize: config.maskPrompt ? maskPromptSize : 0,
  };
}

/** Weight of the unlabelled loss at `iteration` (from 0). */
export function unlabelledWeight({ lambda, rampUp }: SssConfig, iteration: number): number {
  if (rampUp === null) return lambda;
  const step = Math.floor(iteration / rampUp.iterationsPerStep);
  const t = Math.min(step / rampUp.steps, 1);
  return lambda * Math.exp(-5 * (1 - t) ** 2);
}
