/** The final tables: measured, printed, and kept as JSON with overlays. */
import type { Precision } from "../../engine/autocast.ts";
import type { DataSet } from "../data/dataset.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { evaluate, type PromptMode, type Tables } from "./evaluation.ts";
import { drawOverlays } from "./overlays.ts";
import type { ProgressLine } from "./progress.ts";
import { type CheckpointName, makeFolder, writeJson } from "./run_dir.ts";
import type { StopRequest } from "./signals.ts";
import type { Trainer } from "../trainer.ts";

/** Titles of the tables. */
export const TITLES: Readonly<Record<PromptMode, string>> = {
  pcsw: "prompt-free (prompts by PCSW; no label is read)",
  oracle: "oracle prompts (boxes of the ground truth)",
};

/** What to measure, and where to put it. */
export interface ReportOptions {
  readonly trainer: Pick<Trainer, "predict">;
  readonly data: DataSet;
  /** Where the trainer's weights come from. */
  readonly name: CheckpointName;
  readonly checkpoint: Pick<Checkpoint, "step" | "validation">;
  /** What predictions are computed with, f32 where left out. */
  readonly precision?: Precision;
  /** Most volumes; null for all. */
  readonly limit: number | null;
  /** Folder of results.json and overlays/; nothing is written without it. */
  readonly out?: string;
  readonly progress: ProgressLine;
  readonly stop?: StopRequest;
}

/**
 * Measures a trainer on the test set, prints both tables, and writes them beside overlays of the
 * prompt-free predictions.
 *
 * @returns false where a stop was requested meanwhile; nothing is printed then.
 */
export async function report(options: ReportOptions): Promise<boolean> {
  const { trainer, data, name, checkpoint: { step, validation }, precision = "f32" } = options;
  const { limit, out, progress, stop } = options;
  const volumes = data.test.slice(0, limit ?? undefined);
  const overlays = `${out}/overlays`;
  if (out !== undefined) await makeFolder(overlays);
  const tables = await evaluate(trainer, {
    volumes,
    classes: data.classes,
    modes: ["pcsw", "oracle"],
    precision,
    ...(stop && { stop }),
    onVolume: (done, total) => progress.update(`test set: ${done}/${total} volumes`),
    onPrediction: async (volume, mode, prediction) => {
      if (mode !== "pcsw" || out === undefined) return;
      await drawOverlays(
        `${overlays}/${volume.id}.png`,
        volume,
        prediction.labels,
        data.classes,
      );
    },
  });
  progress[Symbol.dispose]();
  if (tables === undefined) return false;
  const measured: Measured = {
    checkpoint: `${name}.safetensors`,
    step,
    validationDice: name === "best" ? validation.best?.dice ?? null : null,
    precision,
    data: data.name,
    volumes: [volumes.length, data.test.length],
  };
  console.log(renderTables(tables, measured));
  if (out !== undefined) await writeJson(`${out}/results.json`, resultsJson(tables, measured));
  return true;
}

/** Which weights on which volumes. */
export interface Measured {
  /** As in "best.safetensors". */
  readonly checkpoint: string;
  readonly step: number;
  /** Best validation Dice, where the checkpoint was chosen by it. */
  readonly validationDice: number | null;
  readonly precision: Precision;
  readonly data: string;
  /** Volumes measured and all volumes of the set. */
  readonly volumes: readonly [measured: number, all: number];
}

/** The tables as text. */
function renderTables(tables: Tables, measured: Measured): string {
  const { checkpoint, step, validationDice, precision, data, volumes: [some, all] } = measured;
  const chosen = validationDice === null
    ? ""
    : `, best on validation with a mean Dice of ${(100 * validationDice).toFixed(2)} %`;
  const part = some < all ? `the first ${some} of ${all}` : `all ${all}`;
  const computed = precision === "f32" ? "" : `, computed in ${precision}`;
  const lines = [
    `Test set of ${data}, ${part} volumes; averaged weights of ${checkpoint} ` +
    `(step ${step}${chosen})${computed}.`,
  ];
  for (const [mode, table] of Object.entries(tables)) {
    lines.push("", `${TITLES[mode as PromptMode]}:`, table.toString().trimEnd());
  }
  return lines.join("\n") + "\n";
}

/** The tables as plain data. */
function resultsJson(tables: Tables, measured: Measured) {
  return {
    ...measured,
    tables: Object.fromEntries(
      Object.entries(tables).map(([mode, table]) => [TITLES[mode as PromptMode], table.toJSON()]),
    ),
  };
}
