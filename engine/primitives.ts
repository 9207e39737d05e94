/** The exhaustive tables of rules: the compiler reports a primitive without one. */
import type { Primitive } from "./attributes.ts";
import type { HeavyRules } from "./compile/plan.ts";
import { attentionRules } from "./ops/attention.ts";
import { conv2dInputRule, conv2dRule, conv2dWeightRule } from "./ops/conv2d.ts";
import { binaryGradients, unaryGradients, whereGradient } from "./ops/elementwise.ts";
import { cumsumRule } from "./ops/cumsum.ts";
import { dfeRules } from "./ops/dfe.ts";
import { indexAddRule } from "./ops/index_add.ts";
import { layerNormRules } from "./ops/layer_norm.ts";
import { matmulRule } from "./ops/matmul.ts";
import { movementGradients } from "./ops/movement.ts";
import { poolRules } from "./ops/pool.ts";
import { reduceGradients } from "./ops/reduce.ts";
import { resampleRule } from "./ops/resample.ts";
import { softmaxRules } from "./ops/softmax.ts";
import type { Gradient } from "./rule.ts";

/** Primitives with kernels of their own. */
export const heavyRules: HeavyRules = {
  matmul: matmulRule,
  conv2d: conv2dRule,
  conv2dInput: conv2dInputRule,
  conv2dWeight: conv2dWeightRule,
  resample: resampleRule,
  cumsum: cumsumRule,
  indexAdd: indexAddRule,
  ...dfeRules,
  ...attentionRules,
  ...poolRules,
  ...softmaxRules,
  ...layerNormRules,
};

/** Extra outputs are read by gradient rules alone. */
const noGradient = () => {
  throw new Error("Gradients do not flow through the extra outputs of a primitive.");
};

type HeavyGradients = { readonly [P in keyof HeavyRules]: Gradient<P> };

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
  output: noGradient,
  ...Object.fromEntries(
    Object.entries(heavyRules).map(([op, rule]) => [op, rule.gradient]),
  ) as unknown as HeavyGradients,
} satisfies { readonly [P in Primitive]: Gradient<P> };
