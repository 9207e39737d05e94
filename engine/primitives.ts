/** The exhaustive tables of rules: the compiler reports a primitive without one. */
import type { Primitive } from "./attributes.ts";
import type { HeavyRules } from "./compile/plan.ts";
import { binaryGradients, unaryGradients, whereGradient } from "./ops/elementwise.ts";
import { movementGradients } from "./ops/movement.ts";
import { reduceGradients } from "./ops/reduce.ts";
import type { Gradient } from "./rule.ts";

/** Primitives with kernels of their own. */
export const heavyRules = {} as HeavyRules;

/** How gradients pass each primitive. */
export const gradientRules = {
  ...unaryGradients,
  ...binaryGradients,
  ...movementGradients,
  ...reduceGradients,
  where: whereGradient,
  leaf: () => [],
  constant: () => [],
  iota: () => [],
} as unknown as { readonly [P in Primitive]: Gradient<P> };
