/** Measures a trainer on volumes with labels: one table without their help, one with it. */
import type { Precision } from "../../engine/autocast.ts";
import { UserError } from "../../engine/errors.ts";
import type { LabelledVolume, VolumeSource } from "../data/dataset.ts";
import { MetricTable } from "../metrics/metric_table.ts";
import type { StopRequest } from "./signals.ts";
import type { Prediction } from "../inference.ts";
import type { Trainer } from "../trainer.ts";

/** Where the prompts of a prediction come from: the network's own PCSW search, or the labels. */
export type PromptMode = "pcsw" | "oracle";

/** What to measure. */
export interface EvaluationOptions {
  readonly volumes: readonly VolumeSource<LabelledVolume>[];
  readonly classes: readonly string[];
  readonly modes: readonly PromptMode[];
  /** What predictions are computed with, f32 where left out. */
  readonly precision?: Precision;
  /** Asked before each volume. */
  readonly stop?: StopRequest;
  /** Called before each volume with the number of those that are done. */
  readonly onVolume?: (done: number, total: number) => void;
  /** Takes every prediction. */
  readonly onPrediction?: (
    volume: LabelledVolume,
    mode: PromptMode,
    prediction: Prediction,
  ) => Promise<void>;
}

/** A table for each mode asked for. */
export type Tables = Partial<Record<PromptMode, MetricTable>>;

/**
 * Predicts and measures on the volumes' own grids.
 *
 * @returns the tables, or `undefined` where `stop` was requested.
 * @throws {UserError} where some volumes have a spacing and later ones have none.
 */
export async function evaluate(
  trainer: Pick<Trainer, "predict">,
  options: EvaluationOptions,
): Promise<Tables | undefined> {
  const { volumes, classes, modes, precision = "f32", stop, onVolume, onPrediction } = options;
  const tables = new Map(modes.map((mode) => [mode, new MetricTable(classes)]));
  for (const [done, source] of volumes.entries()) {
    if (stop?.requested) return undefined;
    onVolume?.(done, volumes.length);
    const volume = await source.load();
    for (const [mode, table] of tables) {
      const prediction = await predict(trainer, volume, mode, precision);
      addVolume(table, volume, prediction);
      await onPrediction?.(volume, mode, prediction);
    }
  }
  return Object.fromEntries(tables);
}

function predict(
  trainer: Pick<Trainer, "predict">,
  volume: LabelledVolume,
  mode: PromptMode,
  precision: Precision,
): Promise<Prediction> {
  if (mode === "oracle") return trainer.predict(volume, mode, precision);
  // Without the label in the object, nothing of it can reach the prompt-free table.
  const { label: _, ...unlabelled } = volume;
  return trainer.predict(unlabelled, mode, precision);
}

function addVolume(table: MetricTable, volume: LabelledVolume, { labels }: Prediction): void {
  const spacing = table.unit === "voxels" ? null : volume.spacing ?? null;
  if (table.unit === "mm" && spacing === null) {
    throw new UserError(
      `${volume.id} has no voxel spacing, unlike the volumes before it; give one with --spacing.`,
    );
  }
  table.add(volume.id, labels, volume.label, volume.shape, spacing);
}

/** Mean Dice over volumes, then classes. */
export function meanDice(table: MetricTable): number {
  return table.summary().mean.dice ?? 0;
}
