/** Running sums along a dimension. */
import { lowerCumsum } from "../../shaders/cumsum.ts";
import { raised } from "../autocast.ts";
import { requireFloat } from "../dtype.ts";
import type { HeavyRule } from "../rule.ts";
import { axisView, dimension } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";

/**
 * Sums of x along `dim` up to and including each element.
 *
 * @throws {TypeError} for a tensor that is neither f32 nor f16.
 */
export function cumsum(x: Tensor, dim: number): Tensor {
  requireFloat("cumsum", x);
  const view = axisView(x.shape, dimension(dim, x.rank, "cumsum"));
  return node("cumsum", { ...view, reverse: false }, [raised(x)], x.shape);
}

/** Rule of the primitive: the gradient is the running sum from the other end. */
export const cumsumRule: HeavyRule<"cumsum"> = {
  epilogue: true,
  gradient: (n, g) => {
    const reverse = !n.attributes.reverse;
    return [node("cumsum", { ...n.attributes, reverse }, [g], n.shape)];
  },
  lower: ({ attributes }, profile, epilogue) => lowerCumsum(attributes, profile, epilogue),
};
