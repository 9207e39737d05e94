/**
 * Metrics of label volumes by class, and their means over a test set.
 *
 * @module
 */
import { type Spacing, type VolumeShape, voxelCount } from "../../model/sss/pcsw/volume.ts";
import { overlap, overlapCounts } from "./overlap.ts";
import { surfaceDistances, volumeDiagonal } from "./surface_distances.ts";
import { textTable } from "./text_table.ts";

/** The metrics of a table, in column order. */
export const metricNames = ["dice", "jaccard", "hd95", "asd", "hd", "assd"] as const;
/** One of {@link metricNames}. */
export type MetricName = typeof metricNames[number];
/** A value of every metric; null where it is undefined. */
export type Metrics = Readonly<Record<MetricName, number | null>>;

/** Unit of the distances. */
export type DistanceUnit = "mm" | "voxels";
/** What the distances are when exactly one of the two masks is empty. */
export type EmptyDistance = "exclude" | "diagonal";

/** Metrics of one class in one volume. */
export interface MetricRow {
  readonly volume: string;
  /** Index into the class names. */
  readonly classIndex: number;
  /** Whether the reference contains the class. */
  readonly present: boolean;
  readonly metrics: Metrics;
}

/** Means over the volumes of one class. */
export interface ClassSummary {
  readonly name: string;
  readonly volumes: number;
  /** Volumes without defined distances, left out of their means. */
  readonly undefinedDistances: number;
  readonly mean: Metrics;
}

/** Means over volumes, then over classes. */
export interface MetricSummary {
  readonly classes: readonly ClassSummary[];
  readonly mean: Metrics;
}

/** Metrics of one class from its two masks `[S, H, W]`. Null spacing gives voxels. */
export function maskMetrics(
  prediction: Uint8Array,
  reference: Uint8Array,
  shape: VolumeShape,
  spacing: Spacing | null,
  emptyDistance: EmptyDistance = "exclude",
): Metrics {
  const voxelSize = spacing ?? [1, 1, 1] as const;
  const counts = overlapCounts(prediction, reference);
  const distances = surfaceDistances(prediction, reference, shape, voxelSize);
  const oneEmpty = (counts.prediction === 0) !== (counts.reference === 0);
  const missing = oneEmpty && emptyDistance === "diagonal"
    ? volumeDiagonal(shape, voxelSize)
    : null;
  return {
    ...overlap(counts),
    ...(distances ?? { hd: missing, hd95: missing, asd: missing, assd: missing }),
  };
}

function meanOf(rows: readonly Metrics[]): Metrics {
  const mean = (name: MetricName) => {
    const values = rows.map((row) => row[name]).filter((v) => v !== null);
    return values.length === 0 ? null : values.reduce((a, b) => a + b, 0) / values.length;
  };
  return {
    dice: mean("dice"),
    jaccard: mean("jaccard"),
    hd95: mean("hd95"),
    asd: mean("asd"),
    hd: mean("hd"),
    assd: mean("assd"),
  };
}

/**
 * Collects metrics by volume and class. All distances of a table are in one unit: mm when every
 * volume has a spacing, voxels when none has.
 */
export class MetricTable {
  readonly #rows: MetricRow[] = [];
  #unit: DistanceUnit | null = null;

  /** @param classNames names of the classes with labels 1, 2, ... */
  constructor(
    readonly classNames: readonly string[],
    readonly emptyDistance: EmptyDistance = "exclude",
  ) {
    if (classNames.length === 0) throw new RangeError("a metric table needs at least one class.");
  }

  /** All rows in the order added. */
  get rows(): readonly MetricRow[] {
    return this.#rows;
  }

  /** Unit of the distances; null while the table is empty. */
  get unit(): DistanceUnit | null {
    return this.#unit;
  }

  /**
   * Adds a volume from its label maps `[S, H, W]` (0 is background, c is class c). Null spacing
   * measures in voxels. Throws a RangeError when the unit differs from that of earlier volumes.
   */
  add(
    volume: string,
    prediction: ArrayLike<number>,
    reference: ArrayLike<number>,
    shape: VolumeShape,
    spacing: Spacing | null,
  ): void {
    voxelCount(shape, prediction.length, `the prediction of ${volume}`);
    voxelCount(shape, reference.length, `the reference of ${volume}`);
    const unit = spacing === null ? "voxels" : "mm";
    if (this.#unit !== null && this.#unit !== unit) {
      throw new RangeError(`${volume} is in ${unit}, but the table is in ${this.#unit}.`);
    }
    this.#unit = unit;
    for (const classIndex of this.classNames.keys()) {
      const p = maskOf(prediction, classIndex + 1), r = maskOf(reference, classIndex + 1);
      const metrics = maskMetrics(p, r, shape, spacing, this.emptyDistance);
      this.#rows.push({ volume, classIndex, present: r.includes(1), metrics });
    }
  }

  /** Means over volumes, then classes; `presentOnly` leaves out volumes without the class. */
  summary(presentOnly = false): MetricSummary {
    const classes = this.classNames.map((name, classIndex) => {
      const rows = this.#rows.filter((row) =>
        row.classIndex === classIndex && (row.present || !presentOnly)
      );
      return {
        name,
        volumes: rows.length,
        undefinedDistances: rows.filter((row) => row.metrics.hd === null).length,
        mean: meanOf(rows.map((row) => row.metrics)),
      };
    });
    return { classes, mean: meanOf(classes.map((c) => c.mean)) };
  }

  /** The rule for empty masks, in a sentence. */
  get emptyRule(): string {
    const distances = this.emptyDistance === "exclude"
      ? "distances are then undefined, excluded and counted"
      : "distances are then the volume's diagonal, or excluded and counted if both are empty";
    return `Empty masks: Dice and Jaccard 1 if both are empty, 0 if one is; ${distances}.`;
  }

  /** A plain-text table of the means. */
  toString(): string {
    const volumes = new Set(this.#rows.map((row) => row.volume)).size;
    const unit = this.#unit ?? "no volumes";
    const lines = [
      `Means over ${volumes} volumes, then classes. Dice and Jaccard in %, distances in ${unit}.`,
      this.emptyRule,
      "",
      ...renderSummary("all volumes", this.summary(false), unit),
    ];
    if (this.#rows.some((row) => !row.present)) {
      lines.push("", ...renderSummary("volumes with the class", this.summary(true), unit));
    }
    return lines.join("\n") + "\n";
  }

  /** Everything as plain data for JSON. */
  toJSON() {
    return {
      unit: this.#unit,
      emptyRule: this.emptyRule,
      classNames: this.classNames,
      allVolumes: this.summary(false),
      presentOnly: this.summary(true),
      rows: this.#rows,
    };
  }
}

function maskOf(labels: ArrayLike<number>, label: number): Uint8Array {
  const mask = new Uint8Array(labels.length);
  for (let i = 0; i < labels.length; i++) if (labels[i] === label) mask[i] = 1;
  return mask;
}

function renderSummary(title: string, summary: MetricSummary, unit: string): string[] {
  const cells = (mean: Metrics) => [
    ...[mean.dice, mean.jaccard].map((v) => v === null ? "-" : (100 * v).toFixed(2)),
    ...[mean.hd95, mean.asd, mean.hd, mean.assd].map((v) => v === null ? "-" : v.toFixed(2)),
  ];
  const distances = ["95HD", "ASD", "HD", "ASSD"].map((name) => `${name} (${unit})`);
  const rows = [
    [title, "Dice (%)", "Jaccard (%)", ...distances, "volumes", "undefined"],
    ...summary.classes.map((c) => [
      c.name,
      ...cells(c.mean),
      String(c.volumes),
      String(c.undefinedDistances),
    ]),
    ["mean", ...cells(summary.mean), "", ""],
  ];
  return textTable(rows);
}
