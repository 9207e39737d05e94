/** Leaves of a training step: everything that changes from step to step is data. */
import { randomKeyData, type Tensor, tensor } from "../engine/mod.ts";
import { type Affine, affineOf, transformPoint } from "./augment/affine.ts";
import { drawCutMix } from "./augment/cutmix.ts";
import { drawPhotometric } from "./augment/photometric.ts";
import { Random } from "./data/random.ts";

/** Weak views: quarter turns and mirrors half of the time, else a turn by up to this angle. */
const MAX_ANGLE = Math.PI / 9;
const SCALE = [0.9, 1.2] as const;
const MAX_SHIFT = 0.08;

/** How often labelled objects get a box or a point, and how far their boxes are off. */
const PROMPT_PROBABILITY = 0.5;

/** A random geometric view of a square image. */
export function drawAffine(random: Random, size: number): Affine {
  const quarter = random.uniform() < 0.5;
  const angle = quarter ? random.integer(4) * Math.PI / 2 : random.uniform(-MAX_ANGLE, MAX_ANGLE);
  return affineOf({
    angle,
    flip: random.uniform() < 0.5,
    scale: random.uniform(...SCALE),
    shift: [random.uniform(-1, 1), random.uniform(-1, 1)].map((u) => u * MAX_SHIFT * size) as [
      number,
      number,
    ],
  }, size);
}

const rows = (values: readonly ArrayLike<number>[], width: number): Tensor => {
  const data = new Float32Array(values.length * width);
  values.forEach((row, i) => data.set(row, i * width));
  return tensor(data, [values.length, width]);
};

/** Leaves of the labelled half. */
export interface LabelledInputs {
  /** Intensities [B, 1, R, R]. */
  readonly images: Tensor;
  /** Class numbers, f32 [B, 1, R, R]. */
  readonly labels: Tensor;
  /** [B, 6] */
  readonly affines: Tensor;
  /** 1 where an object gets a box, a point: [B C, 2]. */
  readonly prompted: Tensor;
  /** Shifts of box sides as shares of their lengths, [B C, 4]. */
  readonly boxShares: Tensor;
  /** Numbers in [0, 1) for draws from the memory bank, [B C, draws]. */
  readonly units: Tensor;
  /** Key of this step's random numbers, u32 [2]. */
  readonly key: Tensor;
}

/** What a labelled batch is made of. */
export interface LabelledBatch {
  readonly images: readonly Float32Array[];
  readonly labels: readonly Uint8Array[];
}

const stackPlanes = (planes: readonly ArrayLike<number>[], size: number): Tensor => {
  const data = new Float32Array(planes.length * size * size);
  planes.forEach((plane, i) => data.set(plane, i * size * size));
  return tensor(data, [planes.length, 1, size, size]);
};

/** Sizes that the leaves of a step have. */
export interface StepSizes {
  readonly size: number;
  readonly classes: number;
  /** Memories that each image attends to. */
  readonly draws: number;
  readonly boxJitter: number;
}

/** Draws the random parts of a labelled batch for `step`. */
export function labelledInputs(
  batch: LabelledBatch,
  { size, classes, draws, boxJitter }: StepSizes,
  seed: number,
  step: number,
): LabelledInputs {
  const random = new Random(seed).fork("labelled view", step);
  const count = batch.images.length;
  const objects = Array.from({ length: count * classes }, (_, i) => i);
  const affines = batch.images.map(() => drawAffine(random, size));
  const prompted = objects.map(() =>
    [0, 1].map(() => random.uniform() < PROMPT_PROBABILITY ? 1 : 0)
  );
  const shares = objects.map(() => [0, 1, 2, 3].map(() => boxJitter * random.uniform(-1, 1)));
  const units = objects.map(() => Array.from({ length: draws }, () => random.uniform()));
  return {
    images: stackPlanes(batch.images, size),
    labels: stackPlanes(batch.labels, size),
    affines: rows(affines, 6),
    prompted: rows(prompted, 2),
    boxShares: rows(shares, 4),
    units: rows(units, draws),
    key: tensor(randomKeyData(seed, step)),
  };
}

/** PCSW's verdict on one slice: per class, [C] or [C, R, R] flat. */
export interface SlicePseudo {
  /** 1 where the class's pseudo-label may be trained on, [C, R, R]. */
  readonly weight: Uint8Array;
  /** What was kept of the class, [C, R, R]. */
  readonly kept: Uint8Array;
  /** Point prompts (x, y), or null where the slice is no prompt slice of the class. */
  readonly points: readonly (readonly [number, number] | null)[];
}

/** Leaves of the unlabelled half. */
export interface UnlabelledInputs {
  readonly images: Tensor;
  readonly affines: Tensor;
  /** Amounts of the two strong views, [B, n] each. */
  readonly photometric: readonly [Tensor, Tensor];
  /** CutMix boxes of the two strong views, [B, 4] each. */
  readonly boxes: readonly [Tensor, Tensor];
  /** Present with PCSW. */
  readonly pseudo?: {
    /** [B, C, R, R] */
    readonly weight: Tensor;
    readonly kept: Tensor;
    /** Points in the view, [B C, 2]. */
    readonly points: Tensor;
    /** 1 where an object has prompts, [B C]. */
    readonly prompted: Tensor;
  };
}

/** Draws the random parts of an unlabelled batch for `step`. */
export function unlabelledInputs(
  images: readonly Float32Array[],
  pseudo: readonly SlicePseudo[] | undefined,
  { size, classes }: StepSizes,
  seed: number,
  step: number,
): UnlabelledInputs {
  const random = new Random(seed).fork("unlabelled view", step);
  const affines = images.map(() => drawAffine(random, size));
  const amounts = () => {
    const drawn = images.map(() => drawPhotometric(random));
    return rows(drawn, drawn[0].length);
  };
  const boxes = () => rows(images.map(() => drawCutMix(random, size)), 4);
  const shared = {
    images: stackPlanes(images, size),
    affines: rows(affines, 6),
    photometric: [amounts(), amounts()] as const,
    boxes: [boxes(), boxes()] as const,
  };
  if (!pseudo) return shared;
  const volume = classes * size * size;
  const maps = (part: "weight" | "kept") => {
    const data = new Float32Array(images.length * volume);
    pseudo.forEach((p, i) => data.set(p[part], i * volume));
    return tensor(data, [images.length, classes, size, size]);
  };
  const inside = ([x, y]: readonly [number, number]) => x >= 0 && y >= 0 && x < size && y < size;
  const points = pseudo.flatMap((p, i) =>
    p.points.map((at) => at && transformPoint(affines[i], at[0], at[1]))
  );
  return {
    ...shared,
    pseudo: {
      weight: maps("weight"),
      kept: maps("kept"),
      points: rows(points.map((at) => at ?? [0, 0]), 2),
      prompted: tensor(Float32Array.from(points, (at) => at && inside(at) ? 1 : 0)),
    },
  };
}
