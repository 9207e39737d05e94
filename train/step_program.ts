/** The graphs of training steps with their gradients: built once for each form, run on new values. */
import {
  gradients,
  type PlanMemory,
  type Request,
  reserve,
  type Storage,
  submit,
  type Tensor,
} from "../engine/mod.ts";
import { type FlatParameters, type GradScalerState, scalerState } from "../engine/optim/mod.ts";
import { formOf, refill } from "./leaves.ts";
import type { MixedPrecision } from "./precision.ts";
import { stepGraph, type StepParts } from "./step_graph.ts";

/** What changes from step to step: leaves with host values. */
export type StepLeaves = Pick<StepParts, "labelled" | "unlabelled" | "banks" | "lambda">;

/** A step that has been submitted. */
export interface RunningStep {
  /** Waits for the adapter. */
  finish(): Promise<StepValues>;
  /** Which of the trainable parameters have a gradient. */
  readonly reached: readonly boolean[];
}

/** What a step computed. */
export interface StepValues {
  /** The whole loss, as `loss`, and its terms. */
  readonly losses: Record<string, number>;
  /** As in the step's graph. */
  readonly memories: Float32Array;
  readonly embeddings: Float32Array;
  readonly ious: Float32Array;
  /** The loss scale of the step, in mixed precision. */
  readonly scaler?: GradScalerState;
}

interface Recorded {
  readonly leaves: StepLeaves;
  readonly request: Request;
  readonly names: readonly string[];
  readonly reached: readonly boolean[];
}

/** Builds, differentiates and runs steps. */
export class StepProgram {
  private readonly recorded = new Map<string, Recorded>();

  constructor(
    private readonly parts: Omit<StepParts, keyof StepLeaves>,
    private readonly weights: FlatParameters,
    private readonly precision: MixedPrecision,
  ) {}

  /**
   * Plans a step and makes room for it, before any step runs.
   *
   * @returns the bytes that it needs.
   * @throws {MemoryError} where there is not enough memory.
   */
  async reserve(leaves: StepLeaves): Promise<PlanMemory> {
    const step = this.record(leaves);
    this.recorded.set(formOf(leaves), step);
    return await reserve(step.request);
  }

  /** Starts a step; its gradients and running statistics end up in the weights' buffers. */
  async run(leaves: StepLeaves): Promise<RunningStep> {
    const form = formOf(leaves);
    let step = this.recorded.get(form);
    if (step) refill(step.leaves, leaves);
    else this.recorded.set(form, step = this.record(leaves));
    const { request, names, reached } = step;
    const finish = await submit(request);
    return {
      reached,
      finish: async () => {
        const values = await finish() as Float32Array[];
        const [memories, embeddings, ious, scale] = values.slice(names.length);
        const losses = Object.fromEntries(names.map((name, i) => [name, values[i][0]]));
        const found = { losses, memories, embeddings, ious };
        return scale ? { ...found, scaler: scalerState(scale) } : found;
      },
    };
  }

  private record(leaves: StepLeaves): Recorded {
    const { build, scaler } = this.precision;
    const parts = { ...this.parts, ...leaves };
    const { loss, terms, training, memories, embeddings, ious } = build(() => stepGraph(parts));
    const grads = gradients(scaler?.scaled(loss) ?? loss, this.weights.trainable);
    const scales = scaler ? [scaler.state] : [];
    const statistics = [...training.updates].map(
      ([parameter, value]): readonly [Tensor, Storage] => [value, parameter.storage!],
    );
    return {
      leaves,
      names: ["loss", ...Object.keys(terms)],
      reached: grads.map((g) => g !== undefined),
      request: {
        read: [loss, ...Object.values(terms), memories, embeddings, ious, ...scales],
        write: [...this.weights.gradientTargets(grads), ...statistics],
      },
    };
  }
}
