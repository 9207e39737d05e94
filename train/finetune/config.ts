/** What a fine-tuning run is made of, as config.json and every checkpoint hold it. */
import type { ConfigName } from "../../model/config.ts";
import type { AnyRunConfig, Schedule } from "../run/config.ts";
import type { TuneOptions } from "./tuner.ts";

/** Which sequences of the data are kept for validation. At most one of the two is given. */
export interface HoldOut {
  /** Share of the sequences, drawn by the seed. */
  readonly holdOut: number | null;
  /** Number of a fold of nnU-Net's `splits_final.json`. */
  readonly fold: number | null;
}

/** When a run is validated, and on what else than a part of the data. */
export interface TuneSchedule extends Schedule {
  /** Folder of validation data. */
  readonly valData: string | null;
}

/** What decides the weights beside the data. */
export interface TuneChoices extends TuneOptions {
  readonly model: ConfigName;
  /** Where the first weights come from, in words. */
  readonly start: string;
}

/** Everything that was chosen for a run of `finetune`. */
export interface TuneConfig extends AnyRunConfig {
  readonly command: "finetune";
  readonly data: HoldOut & { readonly source: string; readonly hash: string };
  readonly train: TuneChoices;
  readonly schedule: TuneSchedule;
}
