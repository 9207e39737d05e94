/**
 * PCSW: pseudo-mask correction by sliding windows. From the class probabilities of an unlabelled
 * volume it finds the components that hang together through the slices and turns them into prompts
 * and voxel weights.
 *
 * @module
 */
import {
  type Component,
  type Criteria,
  judgeComponent,
  judgeWindow,
  type Reason,
  type WindowVerdict,
} from "./continuity.ts";
import { gapVoxels } from "./gap_filling.ts";
import { type GateSet, gatesOf } from "./gates.ts";
import {
  labelPieces,
  type LabelVoxels,
  type PieceLabels,
  pieceLabelsFromVoxels,
} from "./labelling.ts";
import { cutPieces, type Pieces } from "./pieces.ts";
import { classMasks, resolveOverlaps, voxelWeights } from "./pseudo_labels.ts";
import {
  boxCenter,
  centroid,
  deepestPoint,
  jitterBox,
  largestIndex,
  maskPrompt,
  type PointRule,
  promptSlices,
  type SlicePrompt,
  tightBox,
} from "./prompts.ts";
import { unionComponents } from "./union_graph.ts";
import {
  checkSpacing,
  type Connectivity,
  type Spacing,
  type VolumeShape,
  voxelCount,
} from "./volume.ts";
import { slidingWindows, type Window, type WindowOrder } from "./windows.ts";

/** How the search runs; see {@link oursPcsw} and {@link reportedPcsw}. */
export interface PcswOptions {
  readonly order: WindowOrder;
  /** `first`: stop at the first accepted window; `union`: join what all accepted windows keep. */
  readonly selection: "first" | "union";
  readonly connectivity: Connectivity;
  /** Least continuity of a window. */
  readonly tau: number;
  /** Largest components of a window that count together. */
  readonly parts: number;
  /** One set for all classes or one for each foreground class; null turns the gates off. */
  readonly gates: readonly GateSet[] | null;
  /** Missing slices that a component may bridge in `union`; they are filled. */
  readonly gap: number;
  readonly point: PointRule;
  /** Slices from one prompt to the next, from the key slice on; 0 prompts the key slice alone. */
  readonly promptFreq: number;
  /** When nothing is accepted: no prompts and no weight, or the densest slice (else the image). */
  readonly fallback: "none" | "reported";
  /** Least probability of foreground. */
  readonly threshold: number;
  /** Side of the mask prompts, or 0 for none. */
  readonly maskPromptSize: number;
}

/** The search as published. */
export const reportedPcsw: PcswOptions = {
  order: "reported",
  selection: "first",
  connectivity: 6,
  tau: 0.8,
  parts: 1,
  gates: null,
  gap: 0,
  point: "center",
  promptFreq: 0,
  fallback: "reported",
  threshold: 0.5,
  maskPromptSize: 0,
};

/** The default search. Give it the `gates` of the data set. */
export const oursPcsw: PcswOptions = {
  ...reportedPcsw,
  order: "ours",
  selection: "union",
  connectivity: 26,
  gap: 1,
  point: "distance",
  promptFreq: 2,
  fallback: "none",
};

/** What is known of one volume beside its probabilities. */
export interface PcswContext {
  /** Voxel size in mm; without it the gates use their voxel thresholds. */
  readonly spacing?: Spacing | null;
  /** `[S]`: slices that are 0 are ignored; no prompt is put on them. */
  readonly validSlices?: ArrayLike<number>;
  /** Labels all windows; without it the host walks the graph of 2-D pieces. */
  readonly label?: LabelVoxels;
  /** Numbers in [0, 1) for the box jitter; without it boxes stay tight. */
  readonly random?: () => number;
  /** Jitter of each box side as a share of its length, 0.02 by default. */
  readonly jitter?: number;
}

/** Outcome for one foreground class. */
export interface PcswClass {
  readonly accepted: boolean;
  /** `accepted`, or what refused the largest component, or most windows. */
  readonly reason: Reason;
  /** `[S, H, W]`, 1 where the class is kept, filled gaps included. */
  readonly keptMask: Uint8Array;
  /** Prompts in ascending slice order. */
  readonly slices: readonly SlicePrompt[];
  /**
   * `[S, H, W]`, 1 where this class's pseudo-label may be trained on. In `union` it is 0 where the
   * class was predicted but not kept; `first` judges one window only and trusts the rest. When
   * nothing was accepted it is 0 everywhere, or 1 with the published fallback.
   */
  readonly voxelWeight: Uint8Array;
  /** Every window tried, in order. */
  readonly windows: readonly WindowVerdict[];
  /** Components of the whole volume that `union` judged, in scan order. */
  readonly components: readonly { readonly voxels: number; readonly reason: Reason }[];
}

/** What the ordered search leaves of one class. */
interface Search {
  readonly windows: readonly WindowVerdict[];
  readonly components: PcswClass["components"];
  readonly kept: readonly Component[];
}

function voxelsOf(pieces: Pieces, component: Component): number {
  return component.reduce((sum, piece) => sum + pieces.area[piece], 0);
}

function searchWindows(
  pieces: Pieces,
  windows: readonly Window[],
  labels: PieceLabels,
  criteria: Criteria,
  selection: PcswOptions["selection"],
): Search {
  const verdicts: WindowVerdict[] = [];
  const keptPieces = new Uint8Array(pieces.count);
  for (const [i, window] of windows.entries()) {
    const { verdict, kept } = judgeWindow(pieces, window, labels(i), criteria);
    verdicts.push(verdict);
    if (verdict.reason !== "accepted") continue;
    if (selection === "first") return { windows: verdicts, components: [], kept };
    for (const component of kept) for (const piece of component) keptPieces[piece] = 1;
  }
  const judged = unionComponents(pieces, keptPieces).map((component) => ({
    component,
    voxels: voxelsOf(pieces, component),
    reason: judgeComponent(pieces, component, criteria) ?? ("accepted" as const),
  }));
  return {
    windows: verdicts,
    components: judged.map(({ voxels, reason }) => ({ voxels, reason })),
    kept: judged.filter((c) => c.reason === "accepted").map((c) => c.component),
  };
}

function summary({ windows, components, kept }: Search): Reason {
  if (kept.length > 0) return "accepted";
  if (components.length > 0) {
    return components[largestIndex(components.map((c) => c.voxels))].reason;
  }
  const counts = new Map<Reason, number>();
  for (const { reason } of windows) {
    if (reason !== "empty") counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const reasons = [...counts.keys()];
  return reasons.length === 0 ? "empty" : reasons[largestIndex([...counts.values()])];
}

/** Prompts of the kept components; slices without kept voxels or marked invalid get none. */
function componentPrompts(
  pieces: Pieces,
  components: readonly Component[],
  keptMask: Uint8Array,
  options: PcswOptions,
  context: PcswContext,
): SlicePrompt[] {
  const [, H, W] = pieces.shape;
  const chosen = new Set<number>();
  for (const component of components) {
    const first = pieces.slice[component[0]];
    const areas = new Array(pieces.slice[component[component.length - 1]] - first + 1).fill(0);
    for (const piece of component) areas[pieces.slice[piece] - first] += pieces.area[piece];
    for (const z of promptSlices(first, areas, options.promptFreq)) chosen.add(z);
  }
  const prompts: SlicePrompt[] = [];
  for (const z of [...chosen].sort((a, b) => a - b)) {
    const mask = keptMask.subarray(z * H * W, (z + 1) * H * W);
    const box = tightBox(mask, W);
    if (box === null || context.validSlices?.[z] === 0) continue;
    const [, dy, dx] = context.spacing ?? [1, 1, 1];
    const point = options.point === "center"
      ? boxCenter(box)
      : deepestPoint(mask, W, box, [dy, dx]);
    prompts.push({
      z,
      box: context.random ? jitterBox(box, [H, W], context.random, context.jitter) : box,
      point,
      ...(options.maskPromptSize > 0 ? { mask: maskPrompt(mask, W, options.maskPromptSize) } : {}),
    });
  }
  return prompts;
}

/** The published fallback: densest slice and its centroid; for an empty volume the whole image. */
function fallbackPrompt(mask: Uint8Array, [S, H, W]: VolumeShape): SlicePrompt {
  const plane = (z: number) => mask.subarray(z * H * W, (z + 1) * H * W);
  const areas = Array.from({ length: S }, (_, i) => plane(i).reduce((sum, v) => sum + v, 0));
  const z = largestIndex(areas);
  const box = tightBox(plane(z), W);
  if (box === null) return { z, box: [0, 0, W, H], point: [W / 2, H / 2] };
  return { z, box, point: centroid(plane(z), W) };
}

function keptVoxels(pieces: Pieces, components: readonly Component[]): Uint8Array {
  const kept = new Uint8Array(pieces.count + 1);
  for (const component of components) for (const piece of component) kept[piece + 1] = 1;
  const mask = new Uint8Array(pieces.labels.length);
  for (let i = 0; i < mask.length; i++) mask[i] = kept[pieces.labels[i]];
  return mask;
}

function weightRule(accepted: boolean, { selection, fallback }: PcswOptions) {
  if (accepted) return selection === "union" ? "judged" : "all";
  return fallback === "reported" ? "all" : "none";
}

/**
 * PCSW on binary masks, one per foreground class, each `[S, H, W]` with values 0 and 1.
 *
 * `probabilities` (one array per class) decide between classes that fill the same gap; without them
 * such voxels go to none. Masks must be empty in slices that `context` calls invalid.
 */
export async function pcswMasks(
  masks: readonly Uint8Array[],
  shape: VolumeShape,
  options: PcswOptions,
  context: PcswContext = {},
  probabilities?: readonly Float32Array[],
): Promise<PcswClass[]> {
  for (const mask of masks) voxelCount(shape, mask.length, "a class mask");
  const spacing = context.spacing ?? null;
  if (spacing !== null) checkSpacing(spacing);
  const [S] = shape;
  const slices = context.validSlices
    ? Array.from({ length: S }, (_, z) => context.validSlices![z]).filter((v) => v !== 0).length
    : S;
  const windows = slidingWindows(S, options.order);
  const pieces = masks.map((m) => cutPieces(m, shape, options.connectivity, options.gap));
  const voxels = await context.label?.(masks, shape, windows, options.connectivity);
  const searches = pieces.map((p, c) => {
    const labels = (w: number) =>
      voxels ? pieceLabelsFromVoxels(p, windows[w], voxels(c, w)) : labelPieces(p, windows[w]);
    const gates = options.gates && gatesOf(options.gates, c, masks.length);
    const { tau, parts } = options;
    return searchWindows(
      p,
      windows,
      labels,
      { tau, parts, gates, spacing, slices },
      options.selection,
    );
  });
  const keptMasks = searches.map((search, c) => keptVoxels(pieces[c], search.kept));
  if (options.selection === "union") {
    const gaps = searches.map((search, c) =>
      search.kept.flatMap((component) => gapVoxels(pieces[c], component, spacing))
    );
    resolveOverlaps(keptMasks, gaps, probabilities);
  }
  return searches.map((search, c) => {
    const accepted = search.kept.length > 0;
    const useFallback = !accepted && options.fallback === "reported";
    return {
      accepted,
      reason: summary(search),
      keptMask: keptMasks[c],
      slices: useFallback
        ? [fallbackPrompt(masks[c], shape)]
        : componentPrompts(pieces[c], search.kept, keptMasks[c], options, context),
      voxelWeight: voxelWeights(masks[c], keptMasks[c], weightRule(accepted, options)),
      windows: search.windows,
      components: search.components,
    };
  });
}

/**
 * PCSW on class probabilities `[C, S, H, W]` whose channel 0 is the background. A voxel belongs to
 * class c when c has the highest probability there and it is at least `options.threshold`.
 *
 * Returns one entry for each foreground class 1 .. C - 1. Throws a RangeError when sizes disagree.
 */
export async function pcsw(
  probabilities: Float32Array,
  shape: readonly [classes: number, slices: number, height: number, width: number],
  options: PcswOptions,
  context: PcswContext = {},
): Promise<PcswClass[]> {
  const [C, ...volume] = shape;
  const count = voxelCount(volume);
  if (!Number.isInteger(C) || C < 2 || probabilities.length !== C * count) {
    throw new RangeError(
      `${probabilities.length} probabilities do not fill shape [${shape}] with at least 2 channels.`,
    );
  }
  if (context.validSlices && context.validSlices.length !== volume[0]) {
    throw new RangeError(
      `validSlices has ${context.validSlices.length} entries for ${volume[0]} slices.`,
    );
  }
  const channels = Array.from(
    { length: C },
    (_, c) => probabilities.subarray(c * count, (c + 1) * count),
  );
  const masks = classMasks(channels, volume, options.threshold, context.validSlices);
  return await pcswMasks(masks, volume, options, context, channels.slice(1));
}
