/** Pillow's resizing of 8-bit images. */
import { type PillowFilter, resizePillow } from "../../../model/predictors/pillow_resize.ts";
import type { Comparison } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import type { HostTensor } from "../inputs.ts";
import { compareOutputs } from "../kind.ts";

interface ResizeCase {
  readonly case: string;
  readonly out_hw: readonly [number, number];
}

/** The image that an output `CASE.KIND.FILTER` is made of; `gray` is a channel of the noise. */
function inputOf(fixture: Fixture, name: string, kind: string): HostTensor {
  const stored = fixture.stored.get(`${name}.${kind === "gray" ? "noise" : kind}.in`);
  if (!stored) throw new Error(`The fixture has no image for ${name}.${kind}.`);
  if (kind !== "gray") return stored;
  const { shape: [height, width], data } = stored;
  const gray = Uint8Array.from({ length: height * width }, (_, i) => data[3 * i]);
  return { shape: [height, width], data: gray };
}

/** Runs a fixture of kind `resize_pil`. */
export function runResize(fixture: Fixture): Promise<Comparison[]> {
  const sizes = new Map((fixture.manifest.cases as ResizeCase[]).map((c) => [c.case, c.out_hw]));
  const produced = new Map<string, HostTensor>();
  for (const output of Object.keys(fixture.manifest.outputs ?? {})) {
    const [name, kind, filter] = output.split(".");
    const [height, width] = sizes.get(name)!;
    const { shape, data } = inputOf(fixture, name, kind);
    const image = { data: data as Uint8Array, width: shape[1], height: shape[0] };
    const resized = resizePillow(image, width, height, filter as PillowFilter);
    const values = Uint8Array.from(resized.data);
    produced.set(output, { shape: [height, width, ...shape.slice(2)], data: values });
  }
  return Promise.resolve(compareOutputs(fixture, produced));
}
