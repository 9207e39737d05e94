/** What a run is made of, as config.json and every checkpoint hold it. */
import type { Spacing } from "../data/dataset.ts";
import type { TrainOptions } from "../trainer.ts";

/** The source that is generated, not read. */
export const PHANTOM = "phantom";

/** The data of a run. */
export interface DataChoice {
  /** {@link PHANTOM} or a folder. */
  readonly source: string;
  /** Labelled training patients. */
  readonly labeled: number;
  /** Voxel spacing in mm of volumes whose files store none. */
  readonly spacing: Spacing | null;
}

/** What `DataChoice` turned out to be. */
export interface DataIdentity {
  readonly name: string;
  readonly classes: readonly string[];
  /** The data set's fingerprint. */
  readonly hash: string;
}

/** What may change between two parts of a run: it has no influence on the weights. */
export interface Schedule {
  /** Steps between validations; 0 for none. */
  readonly valEvery: number;
  /** Steps between checkpoints. */
  readonly checkpointEvery: number;
  /** Most volumes of a validation and of the final tables; null for all. */
  readonly evalLimit: number | null;
}

/** The commands that make runs. */
export type RunCommand = "train" | "finetune";

/** What the configurations of all runs have in common. */
export interface AnyRunConfig {
  /** The command that made the run; `train` where left out. */
  readonly command?: RunCommand;
  readonly data: { readonly source: string };
  readonly train: { readonly size: number; readonly steps: number; readonly learningRate: number };
  readonly schedule: Pick<Schedule, "valEvery" | "checkpointEvery">;
}

/** Everything that was chosen for a run of `train`. */
export interface RunConfig extends AnyRunConfig {
  readonly data: DataChoice & DataIdentity;
  readonly train: TrainOptions;
  readonly schedule: Schedule;
}

/** The options that stand behind some of the fields. */
const OPTIONS: Readonly<Record<string, string>> = {
  "train.accumulate": "--accumulate",
  "train.batch": "--batch",
  "train.batchLabelled": "--batch",
  "train.clicks": "--clicks",
  "train.clip": "--clip",
  "train.frames": "--frames",
  "train.layerDecay": "--layer-decay",
  "train.objects": "--objects",
  "train.weightDecay": "--weight-decay",
  "train.batchUnlabelled": "--unlabelled-batch",
  "train.gradientCheckpointing": "--gradient-checkpointing",
  "train.learningRate": "--lr",
  "train.precision": "--precision",
  "train.frozen": "--freeze",
  "train.method": "--method",
  "train.model": "--model",
  "train.size": "--size",
  "train.steps": "--steps",
  "train.seed": "--seed",
  "data.labeled": "--labeled",
  "data.spacing": "--spacing",
  "data.name": "the data set's name",
  "data.classes": "the list of classes",
  "data.hash": "the hash of the data",
  "data.holdOut": "the share of --val",
  "data.fold": "--fold",
};

/**
 * What would make a continued run another run, one clause a field; nothing where `here` continues
 * `saved`. The schedule and the place of the data may differ.
 */
export function differences(saved: AnyRunConfig, here: AnyRunConfig): string[] {
  const fields = ({ data: { source: _, ...data }, train }: AnyRunConfig) =>
    new Map(flatten({ data, train }, ""));
  const before = fields(saved), now = fields(here);
  const names = [...new Set([...before.keys(), ...now.keys()])];
  const changed = names.filter((name) => before.get(name) !== now.get(name));
  return changed.map((name) =>
    `${OPTIONS[name] ?? name.replace(/^train\./, "")} is ${before.get(name) ?? "absent"} in the ` +
    `checkpoint and ${now.get(name) ?? "absent"} here`
  );
}

function flatten(value: unknown, path: string): [string, string][] {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    return Object.entries(value).flatMap(([key, inner]) =>
      flatten(inner, path ? `${path}.${key}` : key)
    );
  }
  return [[path, value === null ? "none" : Array.isArray(value) ? list(value) : String(value)]];
}

function list(values: readonly unknown[]): string {
  const plain = values.every((v) => typeof v !== "object");
  return plain ? values.join(",") : JSON.stringify(values);
}
