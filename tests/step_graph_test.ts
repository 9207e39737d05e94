import assert from "node:assert/strict";
import { gradients, scalar } from "../engine/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { sssConfig } from "../model/sss/config.ts";
import { SssModel } from "../model/sss/sss_model.ts";
import { stepGraph } from "../train/step_graph.ts";
import { labelledInputs, unlabelledInputs } from "../train/step_inputs.ts";

const SIZE = 64;
const CLASSES = 2;
const SIZES = { size: SIZE, classes: CLASSES, draws: 2, boxJitter: 0.02 };

/** Keys of the student's parameters that one term of the loss reaches. */
function reached(
  unlabelledGrad: "student" | "figure",
  term: "unlabelled" | "labelled",
): Set<string> {
  const config = { ...CONFIGS.nano, imageSize: SIZE };
  const [student, teacher] = [new SssModel(config, CLASSES), new SssModel(config, CLASSES)];
  const plane = () => new Float32Array(SIZE * SIZE);
  const pseudo = {
    weight: new Uint8Array(CLASSES * SIZE * SIZE),
    kept: new Uint8Array(CLASSES * SIZE * SIZE),
    points: [null, [3, 4] as const],
  };
  const labels = [new Uint8Array(SIZE * SIZE)];
  const graph = stepGraph({
    student,
    teacher,
    config: sssConfig({ unlabelledGrad }),
    method: "sss",
    labelled: labelledInputs({ images: [plane()], labels }, SIZES, 0, 0),
    unlabelled: unlabelledInputs([plane()], [pseudo], SIZES, 0, 0),
    lambda: scalar(1),
  });
  const keys = (model: SssModel) => model.namedParameters();
  const own = keys(student);
  const found = gradients(graph.terms[term], own.map(([, p]) => p));
  const teachers = gradients(graph.loss, keys(teacher).map(([, p]) => p));
  assert.ok(teachers.every((g) => g === undefined), "no loss may reach the teacher");
  return new Set(own.filter((_, i) => found[i]).map(([key]) => key));
}

const begins = (keys: Iterable<string>, prefix: string) =>
  [...keys].some((k) => k.startsWith(prefix));

Deno.test("stepGraph() lets the unlabelled loss reach encoder, DFE, decoder and coarse head when it is the student's", () => {
  const keys = reached("student", "unlabelled");
  for (
    const part of [
      "image_encoder.",
      "sss.dfe.",
      "sam_mask_decoder.",
      "sss.coarse.",
      "sss.class_embed",
    ]
  ) {
    assert.ok(begins(keys, part), part);
  }
  assert.ok(!begins(keys, "memory_attention."));
  assert.ok(!begins(keys, "memory_encoder."));
});

Deno.test("stepGraph() lets the unlabelled loss reach DFE and decoder alone when it follows the figure", () => {
  const keys = reached("figure", "unlabelled");
  for (const part of ["sss.dfe.", "sam_mask_decoder."]) assert.ok(begins(keys, part), part);
  for (const part of ["image_encoder.", "sss.coarse.", "memory_attention."]) {
    assert.ok(!begins(keys, part), part);
  }
});

Deno.test("stepGraph() keeps the DFE out of the labelled loss", () => {
  const keys = reached("student", "labelled");
  assert.ok(begins(keys, "image_encoder."));
  assert.ok(!begins(keys, "sss.dfe."));
  assert.ok(!begins(keys, "sss.coarse."));
});
