/** What the steps of a run see: slices in the order that the seed gives, and what PCSW finds in them. */
import { scalar } from "../engine/mod.ts";
import { unlabelledWeight } from "../model/sss/config.ts";
import type { LabelVoxels } from "../model/sss/pcsw/labelling.ts";
import type { SssModel } from "../model/sss/sss_model.ts";
import { PseudoCache } from "./pseudo_cache.ts";
import { Sampler } from "./sampler.ts";
import type { SlicePool } from "./slices.ts";
import {
  labelledInputs,
  type SlicePseudo,
  type StepSizes,
  unlabelledInputs,
} from "./step_inputs.ts";
import type { StepLeaves } from "./step_program.ts";
import type { TrainOptions } from "./trainer.ts";

/** Memories that an image attends to. */
export const DRAWS = 4;

/** The leaves of a micro-batch; the memory banks are the trainer's. */
export type BatchLeaves = Omit<StepLeaves, "banks">;

/** Draws the micro-batches of all steps. */
export class StepBatches {
  readonly pseudo: PseudoCache;
  private readonly labelledSampler: Sampler;
  private readonly unlabelledSampler: Sampler | undefined;

  constructor(
    private readonly options: TrainOptions,
    private readonly teacher: SssModel,
    private readonly labelled: SlicePool,
    private readonly unlabelled: SlicePool,
    /** Labels the windows of PCSW; the host does where it is `undefined`. */
    readonly label: LabelVoxels | undefined,
  ) {
    const { seed, batchLabelled, batchUnlabelled, method, size, sss } = options;
    this.pseudo = new PseudoCache(unlabelled, sss, size, label);
    this.labelledSampler = new Sampler(labelled.images.length, batchLabelled, seed, "labelled");
    this.unlabelledSampler = method === "supervised"
      ? undefined
      : new Sampler(unlabelled.images.length, batchUnlabelled, seed, "unlabelled");
  }

  /**
   * The micro-batches of a step, each made when it is called for: together they take as much host
   * memory as one large batch. PCSW has searched for all of them, so that none fails after another
   * has run.
   */
  async of(step: number): Promise<(() => BatchLeaves)[]> {
    const { method, seed, sss, batchUnlabelled, accumulate = 1 } = this.options;
    const sampler = step >= this.teacherWarmup ? this.unlabelledSampler : undefined;
    const place = (from: number, i: number) => (step - from) * accumulate + i;
    const slices = Array.from(
      { length: accumulate },
      (_, i) => sampler?.indices(place(this.teacherWarmup, i)) ?? [],
    );
    const verdicts = method === "sss" && sampler
      ? await this.pseudo.get(slices.flat(), step, this.teacher)
      : undefined;
    return slices.map((own, i) => () => {
      const index = place(0, i);
      const chosen = this.labelledSampler.indices(index);
      const batch = {
        images: chosen.map((item) => this.labelled.images[item]),
        labels: chosen.map((item) => this.labelled.labels[item]),
      };
      const images = own.map((item) => this.unlabelled.images[item]);
      const pseudo = verdicts?.slice(i * batchUnlabelled, (i + 1) * batchUnlabelled);
      return {
        labelled: labelledInputs(batch, this.sizes, seed, index),
        unlabelled: sampler ? unlabelledInputs(images, pseudo, this.sizes, seed, index) : undefined,
        lambda: scalar(unlabelledWeight(sss, step)),
      };
    });
  }

  /** Blank leaves of the form that needs the most memory. */
  largest(): BatchLeaves {
    const { method, size, seed, steps, batchLabelled, batchUnlabelled } = this.options;
    const { classes } = this.teacher;
    const blank = (count: number) => Array.from({ length: count }, () => new Uint8Array(size ** 2));
    const images = (count: number) => blank(count).map((plane) => Float32Array.from(plane));
    const maps = new Uint8Array(classes * size ** 2);
    const verdict: SlicePseudo = { weight: maps, kept: maps, points: Array(classes).fill(null) };
    const pseudo = method === "sss" ? Array<SlicePseudo>(batchUnlabelled).fill(verdict) : undefined;
    const follows = this.unlabelledSampler && steps > this.teacherWarmup;
    const batch = { images: images(batchLabelled), labels: blank(batchLabelled) };
    return {
      labelled: labelledInputs(batch, this.sizes, seed, 0),
      unlabelled: follows
        ? unlabelledInputs(images(batchUnlabelled), pseudo, this.sizes, seed, 0)
        : undefined,
      lambda: scalar(0),
    };
  }

  private get sizes(): StepSizes {
    const { size, sss } = this.options;
    return { size, classes: this.teacher.classes, draws: DRAWS, boxJitter: sss.boxJitter };
  }

  /** Steps before the teacher is followed: its coarse head must have learned something. */
  private get teacherWarmup(): number {
    const { sss, steps } = this.options;
    return Math.floor(sss.teacherWarmup * steps);
  }
}
