/** Inputs of model fixtures as tensors. */
import { type Tensor, tensor } from "../../engine/mod.ts";
import type { PointPrompt } from "../../model/sam2/prompt_encoder.ts";
import { type Fixture, fixtureInput } from "./fixture.ts";
import { type HostTensor, normalizeFrames } from "./inputs.ts";

/** Host values as a leaf; everything but integers becomes f32. */
export function toTensor({ shape, data }: HostTensor): Tensor {
  return tensor(data instanceof Int32Array ? data : Float32Array.from(data), shape);
}

/** An input of the fixture as a leaf. */
export function inputTensor(fixture: Fixture, name: string): Tensor {
  return toTensor(fixtureInput(fixture, name));
}

/** Points with labels, from the inputs of those names. */
export function pointPrompt(fixture: Fixture, coords: string, labels: string): PointPrompt {
  return { coords: inputTensor(fixture, coords), labels: inputTensor(fixture, labels) };
}

/** Normalised frames of the input `frames`, [1, 3, H, W] each. */
export function videoFrames(fixture: Fixture): Tensor[] {
  const { shape, data } = normalizeFrames(fixtureInput(fixture, "frames"));
  const [count, ...frame] = shape;
  const size = data.length / count;
  return Array.from(
    { length: count },
    (_, t) => tensor(data.slice(t * size, (t + 1) * size), [1, ...frame]),
  );
}
