/** Plans that tests look into instead of running them. */
import { canonicalise } from "../engine/compile/graph.ts";
import { makePlan, type Plan } from "../engine/compile/plan.ts";
import { activeProfile } from "../engine/evaluate.ts";
import { type AdapterProfile, gradients, square, sum, type Tensor } from "../engine/mod.ts";
import { heavyRules } from "../engine/primitives.ts";

/**
 * The plan of tensors on an adapter.
 *
 * @param reads how many of them, the first ones, are read; memory outside of the arena takes the others.
 */
export function planFor(
  targets: readonly Tensor[],
  profile: AdapterProfile,
  reads: number = targets.length,
): Plan {
  const graph = canonicalise(targets);
  return makePlan({ graph, reads, profile, alignment: 256, rules: heavyRules });
}

/** The same with the schedules in force. */
export async function planOf(targets: readonly Tensor[], reads?: number): Promise<Plan> {
  return planFor(targets, await activeProfile(), reads);
}

/** Dispatches that make tensors. */
export async function stepsOf(targets: readonly Tensor[]): Promise<number> {
  return (await planOf(targets)).steps.length;
}

/** What a function gives, with the gradients of all its inputs. */
export function withGradients(
  inputs: readonly Tensor[],
  f: (...x: Tensor[]) => Tensor,
): Tensor[] {
  const out = f(...inputs);
  return [out, ...gradients(sum(square(out)), inputs).filter((g) => g !== undefined)];
}
