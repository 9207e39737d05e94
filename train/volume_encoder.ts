/** First pass over a volume: features of every slice, and the coarse head's class maps. */
import {
  autocast,
  cast,
  dispose,
  flatten,
  indexSelect,
  type Precision,
  softmax,
  submit,
  type Tensor,
  tensor,
} from "../engine/mod.ts";
import type { PyramidFeatures } from "../model/sam2/fpn_neck.ts";
import type { CoarseOptions, SssModel } from "../model/sss/sss_model.ts";
import { modelInput } from "./model_input.ts";
import { enlarge } from "./objective.ts";

/** Slices that are encoded at once; the last group is filled up, so that one plan serves all. */
const GROUP = 4;

/** A volume whose slices have passed the encoder. */
export interface EncodedVolume {
  /** Features of {@link GROUP} slices each, kept on the GPU until {@link release}. */
  readonly groups: readonly PyramidFeatures[];
  /** The coarsest level of each slice, flat, for the memory bank. */
  readonly embeddings: readonly Float32Array[];
  /** Probabilities of the coarse head, [1 + C, S, size, size]. */
  readonly coarse: Float32Array<ArrayBuffer>;
}

/** How to encode a volume. */
export interface EncodeOptions extends CoarseOptions {
  /** Whether its features stay on the GPU, for {@link sliceFeatures}. */
  readonly keep: boolean;
  /** f32 where left out. */
  readonly precision?: Precision;
}

/** Encodes a volume. */
export async function encodeVolume(
  model: SssModel,
  planes: readonly Float32Array[],
  size: number,
  options: EncodeOptions,
): Promise<EncodedVolume> {
  const channels = model.classes + 1;
  const plane = size * size;
  const coarse = new Float32Array(channels * planes.length * plane);
  const groups: PyramidFeatures[] = [];
  const embeddings: Float32Array[] = [];
  for (let first = 0; first < planes.length; first += GROUP) {
    const data = new Float32Array(GROUP * plane);
    const count = Math.min(GROUP, planes.length - first);
    for (let i = 0; i < count; i++) data.set(planes[first + i], i * plane);
    const images = modelInput(tensor(data, [GROUP, 1, size, size]));
    const { features, probability } = autocast(options.precision ?? "f32", () => {
      const features = model.encode(images);
      const probability = softmax(enlarge(model.coarse(features, options), size), 1);
      return { features, probability };
    });
    const coarsest = cast(flatten(features.levels[features.levels.length - 1], 1), "f32");
    const finish = await submit({
      read: [probability, coarsest],
      keep: options.keep ? features.levels : [],
    });
    const [values, embedded] = await finish() as Float32Array[];
    for (let i = 0; i < count; i++) {
      embeddings.push(embedded.slice(i * coarsest.shape[1], (i + 1) * coarsest.shape[1]));
      for (let c = 0; c < channels; c++) {
        const from = (i * channels + c) * plane;
        coarse.set(values.subarray(from, from + plane), (c * planes.length + first + i) * plane);
      }
    }
    groups.push(features);
  }
  return { groups, embeddings, coarse };
}

/** The features of slice `z`, as a batch of one. */
export function sliceFeatures({ groups }: EncodedVolume, z: number): PyramidFeatures {
  const { levels, positions } = groups[Math.floor(z / GROUP)];
  // The place is data: one plan serves all slices.
  const place = tensor(Uint32Array.of(z % GROUP), [1]);
  const own = (level: Tensor) => indexSelect(level, 0, place);
  return { levels: levels.map(own), positions };
}

/** Frees the features of a volume. */
export function release({ groups }: EncodedVolume): Promise<void> {
  return dispose(groups.flatMap((group) => group.levels));
}
