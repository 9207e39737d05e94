/** First pass over a volume: features of every slice, and the coarse head's class maps. */
import { dispose, flatten, readAll, softmax, submit, type Tensor, tensor } from "../engine/mod.ts";
import type { PyramidFeatures } from "../model/sam2/fpn_neck.ts";
import type { SssModel } from "../model/sss/sss_model.ts";
import { enlarge } from "./objective.ts";
import { normalise } from "./step_graph.ts";

/** Slices that are encoded at once; the last group is filled up, so that one plan serves all. */
const GROUP = 4;

/** A slice of a volume, encoded. */
export interface EncodedSlice {
  /** Kept on the GPU until {@link releaseSlices}. */
  readonly features: PyramidFeatures;
  /** The coarsest level, flat, for the memory bank. */
  readonly embedding: Float32Array;
}

const imageOf = (plane: Float32Array, size: number): Tensor =>
  normalise(tensor(plane, [1, 1, size, size]));

/** Encodes slices one by one and keeps their features on the GPU. */
export async function encodeSlices(
  model: SssModel,
  planes: readonly Float32Array[],
  size: number,
): Promise<EncodedSlice[]> {
  const encoded: EncodedSlice[] = [];
  for (const plane of planes) {
    const features = model.encode(imageOf(plane, size));
    const coarsest = features.levels[features.levels.length - 1];
    const values = await submit({ read: [flatten(coarsest, 0)], keep: features.levels });
    encoded.push({ features, embedding: (await values())[0] as Float32Array });
  }
  return encoded;
}

/** Frees the features of slices. */
export function releaseSlices(slices: readonly EncodedSlice[]): Promise<void> {
  return dispose(slices.flatMap((slice) => slice.features.levels));
}

/** Probabilities of the coarse head for a volume, [1 + C, S, size, size]. */
export async function coarseProbabilities(
  model: SssModel,
  planes: readonly Float32Array[],
  size: number,
): Promise<Float32Array<ArrayBuffer>> {
  const channels = model.classes + 1;
  const plane = size * size;
  const out = new Float32Array(channels * planes.length * plane);
  for (let first = 0; first < planes.length; first += GROUP) {
    const data = new Float32Array(GROUP * plane);
    const count = Math.min(GROUP, planes.length - first);
    for (let i = 0; i < count; i++) data.set(planes[first + i], i * plane);
    const features = model.encode(normalise(tensor(data, [GROUP, 1, size, size])));
    const probability = softmax(enlarge(model.coarse(features), size), 1);
    const [values] = await readAll([probability]) as Float32Array[];
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < channels; c++) {
        const from = (i * channels + c) * plane;
        out.set(values.subarray(from, from + plane), (c * planes.length + first + i) * plane);
      }
    }
  }
  return out;
}
