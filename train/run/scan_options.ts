/** How `segment` and `track` look at a scan. */
import type { Command } from "commander";
import { UserError } from "../../engine/errors.ts";
import type { VolumeAxis } from "../../model/predictors/volume_source.ts";
import { wholeNumber } from "../commands/cli.ts";
import type { Spacing } from "../data/dataset.ts";
import type { ScanOptions } from "../frames/scan.ts";
import { voxelSpacing } from "./options.ts";
import { parseRange } from "./prompt_text.ts";

/** Options for scans; what was not given is absent. */
export interface ScanFlags {
  readonly axis?: VolumeAxis;
  readonly range?: [low: number, high: number];
  readonly spacing?: Spacing;
}

/** Adds the options for scans. */
export function addScanOptions(program: Command): Command {
  return program
    .option(
      "--axis <n>",
      "scan: slices follow each other along k (0, default), j (1) or i (2) of the file",
      wholeNumber(0, 2),
    )
    .option("--range <low,high>", "scan: intensities that are black and white", parseRange)
    .option(
      "--spacing <z,y,x>",
      "scan: voxel spacing in mm where the file stores none",
      voxelSpacing,
    );
}

/** The options in the form that a scan takes. */
export function scanOptions({ axis, range, spacing }: ScanFlags): ScanOptions {
  return {
    ...(axis !== undefined && { axis }),
    ...(range && { range }),
    ...(spacing && { spacing }),
  };
}

/** @throws {UserError} where options for scans are given for another input. */
export function requireNoScanFlags(flags: ScanFlags & { readonly slice?: number }): void {
  const given = (["axis", "range", "spacing", "slice"] as const)
    .find((name) => flags[name] !== undefined);
  if (given) throw new UserError(`--${given} is for scans only.`);
}
