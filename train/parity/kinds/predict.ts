/** The image predictor on a photograph, with each kind of prompt. */
import { readAll, reshape } from "../../../engine/mod.ts";
import { ImagePredictor } from "../../../model/sam2/image_predictor.ts";
import type { ObjectPrompt, Point } from "../../../model/sam2/image_prompts.ts";
import { transformImage } from "../../../model/sam2/image_transform.ts";
import { type Comparison, countRule, valuesRule } from "../compare.ts";
import { type Fixture, fixtureInput } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";
import { withModel } from "../model.ts";

type BoxPrompt = NonNullable<ObjectPrompt["box"]>;

interface PredictCase {
  readonly point_coords?: readonly Point[];
  readonly point_labels?: readonly number[];
  /** One box, or a list of them: one object each. */
  readonly box?: BoxPrompt | readonly BoxPrompt[];
  readonly multimask_output: boolean;
}

type Nested = number | readonly Nested[];
const flat = (values: Nested): number[] =>
  typeof values === "number" ? [values] : values.flatMap(flat);

/** Runs a fixture of kind `predict`. */
export function runPredict(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ model }) => {
    const { shape: [height, width], data } = fixtureInput(fixture, "image_u8");
    const image = { data: data as Uint8Array, width, height };
    const cases = fixture.manifest.cases as Readonly<Record<string, PredictCase>>;
    const produced = new Map<string, HostTensor>();
    const predictor = new ImagePredictor(model);
    await predictor.setImage(image);
    try {
      const transformed = transformImage(image, model.config.imageSize);
      const tensors = new Map([
        ["transformed_image", reshape(transformed, transformed.shape.slice(1))],
        ["high_res_feats.0", predictor.features[0]],
        ["high_res_feats.1", predictor.features[1]],
        ["image_embed", predictor.features[2]],
      ]);
      const values = await readAll([...tensors.values()]);
      [...tensors].forEach(([name, { shape }], i) =>
        produced.set(name, { shape, data: values[i] })
      );
      for (const [name, c] of Object.entries(cases)) {
        await runCase(predictor, name, objectsOf(c), c.multimask_output, [height, width], produced);
      }
      if (cases.points_single && cases.point_multi) {
        const [prompt] = objectsOf(cases.points_single);
        const prompts = [{ ...prompt, maskLogits: bestLogits(produced, "point_multi") }];
        await runCase(predictor, "with_prev_mask", prompts, false, [height, width], produced);
      }
    } finally {
      await predictor.reset();
    }
    const uncertain = (fixture.manifest.mask_area_uncertain ?? {}) as Record<string, Nested>;
    return compareOutputs(fixture, produced, (name) => {
      const [, which] = name.match(/^(.*)\.mask_area$/) ?? [];
      return which === undefined ? valuesRule : countRule(flat(uncertain[which] ?? []));
    });
  });
}

function objectsOf({ point_coords, point_labels, box }: PredictCase): ObjectPrompt[] {
  const points = point_coords && point_labels ? { points: point_coords, labels: point_labels } : {};
  if (!box) return [points];
  const boxes = (typeof box[0] === "number" ? [box] : box) as readonly BoxPrompt[];
  return boxes.map((one) => ({ ...points, box: one }));
}

async function runCase(
  predictor: ImagePredictor,
  name: string,
  prompts: readonly ObjectPrompt[],
  multimask: boolean,
  [height, width]: readonly [number, number],
  produced: Map<string, HostTensor>,
): Promise<void> {
  const { maskLogits, ious, lowResLogits, masksPerObject } = await predictor.predict(prompts, {
    multimask,
  });
  // One object has no batch dimension, as in the official predictor.
  const batch = prompts.length === 1 ? [masksPerObject] : [prompts.length, masksPerObject];
  const masks = prompts.length * masksPerObject;
  const side = Math.sqrt(lowResLogits.length / masks);
  const pixels = height * width;
  const areas = Int32Array.from({ length: masks }, (_, i) => {
    let area = 0;
    for (let p = 0; p < pixels; p++) if (maskLogits[i * pixels + p] > 0) area++;
    return area;
  });
  produced.set(`${name}.mask_logits`, { shape: [...batch, height, width], data: maskLogits });
  produced.set(`${name}.ious`, { shape: batch, data: ious });
  produced.set(`${name}.low_res`, { shape: [...batch, side, side], data: lowResLogits });
  produced.set(`${name}.mask_area`, { shape: batch, data: areas });
}

/** Low-resolution logits of the mask with the highest predicted overlap. */
function bestLogits(produced: ReadonlyMap<string, HostTensor>, name: string): Float32Array {
  const ious = produced.get(`${name}.ious`)!.data;
  const { shape, data } = produced.get(`${name}.low_res`)!;
  let best = 0;
  for (let i = 1; i < ious.length; i++) if (ious[i] > ious[best]) best = i;
  const size = data.length / shape[0];
  return Float32Array.from(data.subarray(best * size, (best + 1) * size));
}
