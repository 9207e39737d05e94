/** Softmax and log-softmax along a dimension. */
import type { HeavyAttributes } from "../attributes.ts";
import { lowerSoftmax, type SoftmaxKind } from "../../shaders/softmax.ts";
import { raised } from "../autocast.ts";
import { requireFloat } from "../dtype.ts";
import type { Gradient, HeavyRule } from "../rule.ts";
import { axisView, dimension } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { noSecondDerivative } from "./second_derivative.ts";

function along(op: "softmax" | "logSoftmax", x: Tensor, dim: number): Tensor {
  requireFloat(op, x);
  return node(op, axisView(x.shape, dimension(dim, x.rank, op)), [raised(x)], x.shape);
}

/** exp(x) / sum(exp(x)) along a dimension, stable. */
export const softmax = (x: Tensor, dim: number): Tensor => along("softmax", x, dim);

/** The logarithm of {@link softmax}, exact where probabilities are tiny. */
export const logSoftmax = (x: Tensor, dim: number): Tensor => along("logSoftmax", x, dim);

function rule<P extends SoftmaxKind & keyof HeavyAttributes>(
  kind: P,
  epilogue: boolean,
  gradient: Gradient<P>,
): HeavyRule<P> {
  return {
    gradient,
    epilogue,
    lower: (n, profile, ep) => lowerSoftmax(kind, n.attributes, profile, ep),
  };
}

/** Rules of the forward and backward primitives. */
export const softmaxRules = {
  softmax: rule(
    "softmax",
    true,
    (n, g) => [node("softmaxBackward", n.attributes, [n, g], n.shape)],
  ),
  logSoftmax: rule(
    "logSoftmax",
    false,
    (n, g) => [node("logSoftmaxBackward", n.attributes, [n, g], n.shape)],
  ),
  softmaxBackward: rule("softmaxBackward", true, noSecondDerivative("softmax")),
  logSoftmaxBackward: rule("logSoftmaxBackward", false, noSecondDerivative("logSoftmax")),
};
