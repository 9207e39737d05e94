/** Weights of a fixture: each state-dict entry is a hash tensor whose scale follows from its key. */
import { numel, type Shape } from "../../engine/shape.ts";
import { hashValues } from "./hash.ts";

/** How the values of one weight are drawn: `offset + scale * v`, v in [-1, 1). */
export interface WeightRule {
  readonly kind: string;
  readonly offset: number;
  readonly scale: number;
}

/** Rules of single keys that a manifest sets instead: `key → [offset, scale]`. */
export type WeightOverrides = Readonly<Record<string, readonly [number, number]>>;

/** The rule for a state-dict key (without prefix) of the given shape; the first match wins. */
export function weightRule(key: string, shape: Shape): WeightRule {
  const rule = (kind: string, offset: number, scale: number) => ({ kind, offset, scale });
  const parts = key.split(".");
  const last = parts[parts.length - 1];
  if (last === "positional_encoding_gaussian_matrix") return rule("gauss", 0, Math.sqrt(3));
  if (last === "gamma") return rule("layerscale", 0.5, 0.1);
  if (last === "bias") {
    const score = parts.includes("pred_obj_score_head") && shape.length === 1 && shape[0] === 1;
    return score ? rule("objbias", 2, 0.02) : rule("bias", 0, 0.02);
  }
  if (last !== "weight") return rule("embed", 0, 0.1);
  if (shape.length === 1) return rule("norm", 1, 0.1);
  if (/_tokens?\.weight$/.test(key)) return rule("token", 0, 1);
  if (key.includes("point_embeddings.") || key.endsWith("_embed.weight")) {
    return rule("prompt_embed", 0, 0.5);
  }
  if (key.includes("output_upscaling")) return rule("convT", 0, Math.sqrt(3 / shape[0]));
  const gain = key.includes("output_hypernetworks_mlps")
    ? 1.6
    : key.includes("iou_prediction_head")
    ? 1.5
    : 1;
  return rule("matrix", 0, Math.sqrt(3 / numel(shape.slice(1))) * gain);
}

/** The values of one weight. `prefix` comes before the key in the seed only. */
export function weightValues(
  prefix: string,
  key: string,
  shape: Shape,
  overrides: WeightOverrides = {},
): Float32Array<ArrayBuffer> {
  const rule = weightRule(key, shape);
  const [offset, scale] = overrides[key] ?? [rule.offset, rule.scale];
  return hashValues(prefix + key, numel(shape), offset, scale);
}
