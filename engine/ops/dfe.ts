/** Dual feature enhancement (SSS, section 4.2): similarity of two maps, and their combination by it. */
import {
  type DfeShape,
  lowerDfeCombine,
  lowerDfeCombineBackward,
  lowerDfeSimilarity,
} from "../../shaders/dfe.ts";
import { raised } from "../autocast.ts";
import type { HeavyRule } from "../rule.ts";
import { numel, sameShape, show } from "../shape.ts";
import { node, type Tensor } from "../tensor.ts";
import { mul } from "./elementwise.ts";
import { expand, narrow, reshape } from "./movement.ts";
import { noSecondDerivative } from "./second_derivative.ts";

function shapeOf({ shape }: Tensor): DfeShape {
  return { batch: shape[0], channels: shape[1], positions: numel(shape.slice(2)) };
}

function requireSame(op: string, maps: readonly Tensor[]): void {
  const other = maps.find((map) => map.dtype !== "f32");
  if (other) {
    throw new TypeError(`${op}: a map is ${other.dtype}, not f32, in which its means are taken.`);
  }
  if (maps[0].rank === 4 && maps.every((map) => sameShape(map.shape, maps[0].shape))) return;
  throw new RangeError(
    `${op}: maps ${maps.map((map) => show(map.shape)).join(", ")} are not of one [B, C, H, W].`,
  );
}

/**
 * Cosine of the spatial means of two maps; products of norms count as 1e-8 at least.
 *
 * @param p [B, C, H, W]
 * @param q [B, C, H, W]
 * @returns [B]
 * @throws {RangeError} where the shapes differ.
 * @throws {TypeError} where a map is not f32.
 */
export function dfeSimilarity(p: Tensor, q: Tensor): Tensor {
  const maps = [p, q].map(raised);
  requireSame("dfeSimilarity", maps);
  return node("dfeSimilarity", {}, maps, [p.shape[0]]);
}

/**
 * w * mappedP + (1 - w) * mappedQ + (1 - S) * (q - p), where w = sigmoid(S).
 *
 * @param p [B, C, H, W], as q, mappedP and mappedQ.
 * @param similarity S of each sample, [B].
 * @throws {RangeError} where shapes disagree.
 * @throws {TypeError} where a map is not f32.
 */
export function dfeCombine(
  p: Tensor,
  q: Tensor,
  mappedP: Tensor,
  mappedQ: Tensor,
  similarity: Tensor,
): Tensor {
  const maps = [p, q, mappedP, mappedQ].map(raised);
  requireSame("dfeCombine", maps);
  if (!sameShape(similarity.shape, [p.shape[0]])) {
    throw new RangeError(
      `dfeCombine: similarity ${show(similarity.shape)} is not [B] of maps ${show(p.shape)}.`,
    );
  }
  return node("dfeCombine", {}, [...maps, raised(similarity)], p.shape);
}

/** Rules of the forward and backward primitives. */
export const dfeRules: {
  dfeSimilarity: HeavyRule<"dfeSimilarity">;
  dfeCombine: HeavyRule<"dfeCombine">;
  dfeCombineBackward: HeavyRule<"dfeCombineBackward">;
} = {
  dfeSimilarity: {
    epilogue: false,
    extraOutputs: ({ inputs: [p] }) => [
      { shape: [p.shape[0], 2, p.shape[1]], dtype: "f32" },
    ],
    // The kernel keeps the slope of each channel, so the gradient is a product that fuses.
    gradient: (n, g) => {
      const [batch, channels] = n.inputs[0].shape;
      const slopes = node("output", { index: 1 }, [n], [batch, 2, channels]);
      const gradient = (side: number) => {
        const scaled = mul(narrow(slopes, 1, side, 1), reshape(g, [batch, 1, 1]));
        return expand(reshape(scaled, [batch, channels, 1, 1]), n.inputs[0].shape);
      };
      return [gradient(0), gradient(1)];
    },
    lower: (n, profile) => lowerDfeSimilarity(shapeOf(n.inputs[0]), profile),
  },
  dfeCombine: {
    epilogue: true,
    gradient: (n, g) => {
      const [p, , , , similarity] = n.inputs;
      const main = node("dfeCombineBackward", {}, [...n.inputs, g], p.shape);
      const output = (index: number, shape = p.shape) => node("output", { index }, [main], shape);
      return [main, output(1), output(2), output(3), output(4, similarity.shape)];
    },
    lower: (n, profile, epilogue) => lowerDfeCombine(shapeOf(n), profile, epilogue),
  },
  dfeCombineBackward: {
    epilogue: false,
    extraOutputs: ({ shape }) => [
      ...[1, 2, 3].map(() => ({ shape, dtype: "f32" as const })),
      { shape: [shape[0]], dtype: "f32" },
    ],
    gradient: noSecondDerivative("dfeCombine"),
    lower: (n, profile) => lowerDfeCombineBackward(shapeOf(n), profile),
  },
};
