/** Reverse-mode differentiation on the graph: gradients are nodes like all others. */
import { promoting } from "./autocast.ts";
import type { Attributes, Primitive } from "./attributes.ts";
import { requireFloat } from "./dtype.ts";
import { Replays } from "./gradient_checkpoint.ts";
import { cast } from "./ops/cast.ts";
import { add, ones } from "./ops/elementwise.ts";
import { gradientRules } from "./primitives.ts";
import type { Gradient, NodeOf } from "./rule.ts";
import { show } from "./shape.ts";
import type { Tensor } from "./tensor.ts";

/** All tensors below `root`, inputs first. */
function below(root: Tensor): Tensor[] {
  const seen = new Set<Tensor>();
  const pending = [root];
  while (pending.length > 0) {
    const t = pending.pop()!;
    if (seen.has(t)) continue;
    seen.add(t);
    pending.push(...t.inputs);
  }
  return [...seen].sort((a, b) => a.id - b.id);
}

/**
 * The gradients of a scalar with regard to tensors.
 *
 * @param loss a tensor with one element.
 * @param wanted leaves or intermediate tensors.
 * @returns one tensor per wanted one, of its type, or `undefined` where the loss does not depend on it.
 * @throws {RangeError} where the loss is not a scalar.
 * @throws {TypeError} where it is neither f32 nor f16.
 * @throws {Error} where a second derivative is not supported: of ops that say so, and with regard to
 * tensors that were made inside a checkpointed part.
 */
export function gradients(loss: Tensor, wanted: readonly Tensor[]): (Tensor | undefined)[] {
  if (loss.size !== 1) {
    throw new RangeError(`gradients: the loss has shape ${show(loss.shape)}, not [].`);
  }
  requireFloat("gradients", loss);
  return promoting(() => backward(loss, wanted));
}

function backward(loss: Tensor, wanted: readonly Tensor[]): (Tensor | undefined)[] {
  const order = below(loss);
  // Gradients depend on the values that were computed anew for them, not on the wanted tensors.
  if (wanted.some((t) => t.segment && t.op !== "leaf") && order.some((t) => t.replay > 0)) {
    throw new Error(
      "gradients: second derivatives with regard to a tensor made inside checkpoint() are not supported.",
    );
  }
  const targets = new Set(wanted);
  const active = new Set<Tensor>();
  for (const t of order) {
    if (targets.has(t) || t.inputs.some((x) => active.has(x))) active.add(t);
  }
  const replays = new Replays(order);
  const sums = new Map<Tensor, Tensor>([[loss, ones(loss.shape, loss.dtype)]]);
  for (let i = order.length - 1; i >= 0; i--) {
    const t = order[i];
    const g = sums.get(t);
    if (!g || !active.has(t) || t.inputs.length === 0) continue;
    const needs = t.inputs.map((x) => active.has(x));
    const rule = gradientRules[t.op] as Gradient<Primitive>;
    const known = replays.of(t) as NodeOf<Primitive> & { attributes: Attributes[Primitive] };
    const parts = rule(known, g, needs);
    t.inputs.forEach((x, k) => {
      if (!needs[k] || !parts[k]) return;
      const part = cast(parts[k], x.dtype);
      const before = sums.get(x);
      sums.set(x, before ? add(before, part) : part);
    });
  }
  return wanted.map((t) => sums.get(t));
}
