/** The automatic mask generator, and its helpers by themselves. */
import { type Box, boxOfMask, cropBoxes } from "../../../model/predictors/boxes.ts";
import { AutomaticMaskGenerator } from "../../../model/predictors/mask_generator.ts";
import type {
  AutomaticMaskOptions,
  MaskBatchReport,
  MaskRecord,
} from "../../../model/predictors/mask_options.ts";
import { decodeCocoRle, maskToRle, type UncompressedRle } from "../../../model/predictors/rle.ts";
import {
  postprocessSmallRegions,
  removeSmallRegions,
} from "../../../model/predictors/small_regions.ts";
import type { BinaryMask } from "../../../model/predictors/video_options.ts";
import type { Comparison } from "../compare.ts";
import { type Fixture, fixtureInput } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareExactly, compareOutputs } from "../kind.ts";
import { maskRules } from "../mask_rules.ts";
import { camelCase, withModel } from "../model.ts";

const integers = (values: readonly (readonly number[])[], columns: number): HostTensor => ({
  shape: [values.length, columns],
  data: Int32Array.from(values.flat()),
});

const list = (values: readonly number[]): HostTensor => ({
  shape: [values.length],
  data: Int32Array.from(values),
});

/** Run lengths of masks, one after the other, with where each begins. */
function rleTensors(rles: readonly UncompressedRle[], prefix = ""): [string, HostTensor][] {
  const offsets = [0];
  for (const { counts } of rles) offsets.push(offsets[offsets.length - 1] + counts.length);
  return [
    [`${prefix}rle_counts`, list(rles.flatMap(({ counts }) => counts))],
    [`${prefix}rle_offsets`, list(offsets)],
  ];
}

/** The run lengths of a mask, in whatever form it was returned. */
function runsOf({ segmentation }: MaskRecord): UncompressedRle {
  if ("data" in segmentation) return maskToRle(segmentation);
  const { size, counts } = segmentation;
  return typeof counts === "string" ? decodeCocoRle({ size, counts }) : { size, counts };
}

function recordTensors(records: readonly MaskRecord[]): [string, HostTensor][] {
  const numbers = (of: (record: MaskRecord) => number): HostTensor => ({
    shape: [records.length],
    data: Float64Array.from(records, of),
  });
  const points = records.flatMap(({ pointCoords }) => pointCoords.flat());
  return [
    ["area", list(records.map(({ area }) => area))],
    ["bbox", integers(records.map(({ bbox }) => bbox), 4)],
    ["crop_box", integers(records.map(({ cropBox }) => cropBox), 4)],
    ["point_coords", { shape: [records.length, 2], data: Float64Array.from(points) }],
    ["predicted_iou", numbers(({ predictedIou }) => predictedIou)],
    ["stability_score", numbers(({ stabilityScore }) => stabilityScore)],
    ...rleTensors(records.map(runsOf)),
  ];
}

const traceOf = ({ points, crop, afterIou, afterStability, afterEdge }: MaskBatchReport) => ({
  points,
  crop,
  after_iou: afterIou,
  after_stability: afterStability,
  after_edge: afterEdge,
});

/** Runs a fixture of kind `auto`. */
export function runAuto(fixture: Fixture): Promise<Comparison[]> {
  return withModel(fixture, async ({ model }) => {
    const { manifest } = fixture;
    const given = Object.entries(manifest.generator_args as Record<string, unknown>);
    const options: AutomaticMaskOptions = Object.fromEntries(
      given.map(([key, value]) => [camelCase(key), value]),
    );
    const { shape: [height, width], data } = fixtureInput(fixture, "image");
    const image = { data: data as Uint8Array, width, height };
    const generator = new AutomaticMaskGenerator(model, options);
    const trace: ReturnType<typeof traceOf>[] = [];
    const records = await generator.generate(image, {
      onBatch: (report) => trace.push(traceOf(report)),
    });
    const produced = new Map(recordTensors(records));
    for (const [layer, grid] of generator.pointGrids.entries()) {
      const points = { shape: [grid.length, 2], data: Float64Array.from(grid.flat()) };
      produced.set(`point_grid.layer${layer}`, points);
    }
    const crops = cropBoxes(height, width, options.cropNLayers!, options.cropOverlapRatio!);
    const { pixels, rules, left } = maskRules(fixture, produced, [height, width]);
    return [
      compareExactly("crop_boxes", manifest.crop_boxes, crops.map(({ box }) => box)),
      compareExactly("trace", manifest.trace, trace),
      pixels,
      ...compareOutputs(fixture, produced, rules).filter(({ name }) => !left.has(name)),
    ];
  });
}

function masksOf(fixture: Fixture): BinaryMask[] {
  const { shape: [count, height, width], data } = fixtureInput(fixture, "masks");
  const plane = height * width;
  return Array.from({ length: count }, (_, i) => ({
    data: (data as Uint8Array).subarray(i * plane, (i + 1) * plane),
    width,
    height,
  }));
}

/** Runs a fixture of kind `auto_small_regions`. */
export function runSmallRegions(fixture: Fixture): Promise<Comparison[]> {
  const { manifest } = fixture;
  const masks = masksOf(fixture);
  const rles = masks.map(maskToRle);
  const [{ width, height }] = masks;
  const boxes = (all: readonly Box[]) => integers(all, 4);
  const produced = new Map<string, HostTensor>([
    ["boxes", boxes(masks.map(boxOfMask))],
    ...rleTensors(rles),
  ]);
  for (const area of manifest.areas as number[]) {
    for (const mode of ["holes", "islands"] as const) {
      const cleaned = masks.map((mask) => removeSmallRegions(mask, area, mode));
      const data = Uint8Array.from(cleaned.flatMap(({ mask }) => [...mask.data]));
      produced.set(`${mode}_${area}.masks`, { shape: [masks.length, height, width], data });
      produced.set(`${mode}_${area}.changed`, list(cleaned.map((c) => c.changed ? 1 : 0)));
    }
    const post = postprocessSmallRegions(rles, area, manifest.nms_thresh as number);
    produced.set(`post_${area}.kept`, list(post.kept));
    produced.set(`post_${area}.boxes`, boxes(post.boxes));
    for (const [name, value] of rleTensors(post.rles, `post_${area}.`)) produced.set(name, value);
  }
  for (const name of Object.keys(manifest.outputs ?? {})) {
    const [, h, w, layers] = name.match(/^crop_boxes_(\d+)x(\d+)_(\d+)$/) ?? [];
    if (layers === undefined) continue;
    const crops = cropBoxes(Number(h), Number(w), Number(layers), 512 / 1500);
    produced.set(name, boxes(crops.map(({ box }) => box)));
    produced.set(name.replace("boxes", "layers"), list(crops.map(({ layer }) => layer)));
  }
  return Promise.resolve(compareOutputs(fixture, produced));
}
