/** Measures a model as it is used: each object is shown once, then tracked. */
import { insideOf } from "../../model/predictors/binary_mask.ts";
import { boxOfMask } from "../../model/predictors/boxes.ts";
import type { FrameSource } from "../../model/predictors/frame_source.ts";
import { VideoPredictor } from "../../model/predictors/video_predictor.ts";
import type { BinaryMask, FrameMasks } from "../../model/predictors/video_options.ts";
import type { Sam2 } from "../../model/sam2/sam2.ts";
import type { SegmentedFrame, SegmentedSequence } from "../data/sequence.ts";
import { overlapCounts } from "../metrics/overlap.ts";
import type { StopRequest } from "../run/signals.ts";
import { DiceTable } from "./dice_table.ts";

/** What the figures of {@link measureTracking} say, as part of a sentence. */
export const PROTOCOL = "one box for each object, in the frame where it is largest, then tracked";

/** What to measure, and whom to tell. */
export interface TrackingMeasurement {
  readonly sequences: readonly SegmentedSequence[];
  readonly labelNames: ReadonlyMap<number, string>;
  /** Asked before each sequence. */
  readonly stop: StopRequest;
  /** Called before each sequence with the number of those that are done. */
  readonly onSequence?: (done: number, total: number) => void;
}

/**
 * Gives each object of a sequence its tight box in the frame where it is largest, tracks it in both
 * directions and counts how its masks overlap with the labels.
 *
 * @returns the table, or `undefined` where a stop was requested meanwhile.
 */
export async function measureTracking(
  model: Sam2,
  { sequences, labelNames, stop, onSequence }: TrackingMeasurement,
): Promise<DiceTable | undefined> {
  const table = new DiceTable(labelNames);
  for (const [done, sequence] of sequences.entries()) {
    if (stop.requested) return undefined;
    onSequence?.(done, sequences.length);
    await measureSequence(model, sequence, table);
  }
  return table;
}

/** Where an object is shown to the model. */
interface Shown {
  readonly frame: number;
  readonly area: number;
  readonly mask: BinaryMask;
}

async function measureSequence(
  model: Sam2,
  sequence: SegmentedSequence,
  table: DiceTable,
): Promise<void> {
  const objects = await largestMasks(sequence);
  if (objects.size === 0) return;
  const predictor = new VideoPredictor(model, await framesOf(sequence));
  try {
    for (const [label, { frame, mask }] of objects) {
      const [x0, y0, x1, y1] = boxOfMask(mask);
      await predictor.addPointsOrBox(frame, label, { box: [x0, y0, x1, y1] });
    }
    const start = Math.min(...[...objects.values()].map(({ frame }) => frame));
    const seen = new Set<number>();
    for (const reverse of [false, true]) {
      for await (const masks of predictor.propagate({ start, reverse })) {
        if (seen.has(masks.frame)) continue;
        seen.add(masks.frame);
        countFrame(table, sequence.id, masks, await sequence.read(masks.frame));
      }
    }
  } finally {
    await predictor.close();
  }
}

/** The largest appearance of each label. */
async function largestMasks(sequence: SegmentedSequence): Promise<Map<number, Shown>> {
  const largest = new Map<number, Shown>();
  for (let frame = 0; frame < sequence.count; frame++) {
    const { image: { width, height }, labels } = await sequence.read(frame);
    const areas = new Map<number, number>();
    for (let i = 0; i < labels.length; i++) {
      if (labels[i] > 0) areas.set(labels[i], (areas.get(labels[i]) ?? 0) + 1);
    }
    for (const [label, area] of areas) {
      if (area <= (largest.get(label)?.area ?? 0)) continue;
      largest.set(label, { frame, area, mask: { data: maskOf(labels, label), width, height } });
    }
  }
  return largest;
}

function maskOf(labels: SegmentedFrame["labels"], label: number): Uint8Array {
  return Uint8Array.from(labels, (value) => Number(value === label));
}

async function framesOf({ count, read }: SegmentedSequence): Promise<FrameSource> {
  const { image: { width, height } } = await read(0);
  return { count, width, height, read: async (index) => (await read(index)).image };
}

function countFrame(
  table: DiceTable,
  sequence: string,
  { objectIds, width, height, logits }: FrameMasks,
  { labels }: SegmentedFrame,
): void {
  const plane = width * height;
  for (const [i, label] of objectIds.entries()) {
    const predicted = insideOf(logits.subarray(i * plane, (i + 1) * plane));
    table.add(sequence, label, overlapCounts(predicted, maskOf(labels, label)));
  }
}
