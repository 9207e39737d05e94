/** Making memories under each combination of the options that decide on the mask. */
import { permute, reshape, type Tensor } from "../../../engine/mod.ts";
import { applyNonOverlappingConstraints } from "../../../model/sam2/sam2.ts";
import type { Comparison } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { compareOutputs } from "../kind.ts";
import { type Outputs, readOutputs, withModel } from "../model.ts";
import { inputTensor } from "../prompts.ts";

/** [N, B, C] to [B, C, h, w] with square h, w. */
function sequenceToMap(x: Tensor): Tensor {
  const [tokens, batch, channels] = x.shape;
  const side = Math.sqrt(tokens);
  return reshape(permute(x, [1, 2, 0]), [batch, channels, side, side]);
}

/** Runs a fixture of kind `encode_memory`. */
export function runEncodeMemory(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ reconfigured }) => {
    const features = sequenceToMap(inputTensor(fixture, "pix_feat_seq"));
    const masks = inputTensor(fixture, "pred_masks_high_res");
    const scores = inputTensor(fixture, "object_score_logits");
    const outputs: Outputs = new Map();
    for (const nonOverlap of [false, true]) {
      for (const binarize of [false, true]) {
        const model = reconfigured((config) => ({
          ...config,
          nonOverlapMasksForMemEnc: nonOverlap,
          binarizeMaskFromPtsForMemEnc: binarize,
        }));
        for (const isMaskFromPts of [false, true]) {
          const memory = model.encodeNewMemory(features, masks, scores, { isMaskFromPts });
          const name = `nonoverlap${+nonOverlap}_binarize${+binarize}_frompts${+isMaskFromPts}`;
          outputs.set(`${name}.maskmem_features`, memory.features);
        }
      }
    }
    outputs.set("non_overlapping_masks", applyNonOverlappingConstraints(masks));
    return compareOutputs(fixture, await readOutputs(fixture, outputs));
  });
}
