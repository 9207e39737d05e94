import { ok, strictEqual as equal, throws } from "node:assert/strict";
import {
  type ConvShape,
  lowerConv2d,
  lowerConv2dInput,
  lowerConv2dWeight,
} from "../shaders/conv2d.ts";
import { close, values } from "./close.ts";
import {
  convInputReference,
  convLengths,
  convReference,
  convWeightReference,
} from "./conv_reference.ts";
import { SCALE_AND_ADD } from "./epilogues.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

type Size = [batch: number, channels: number, height: number, width: number, filters: number];

function shape(
  [batch, channels, height, width, filters]: Size,
  kernel: [number, number],
  stride: [number, number],
  padding: [number, number],
  groups = 1,
): ConvShape {
  return { batch, channels, height, width, filters, kernel, stride, padding, groups };
}

const SHAPES: Record<string, ConvShape> = {
  "3x3": shape([2, 5, 9, 12, 7], [3, 3], [1, 1], [1, 1]),
  "3x3 of odd width": shape([1, 3, 5, 17, 33], [3, 3], [1, 1], [1, 1]),
  "3x3 of rows within a subgroup": shape([2, 3, 5, 16, 6], [3, 3], [1, 1], [1, 1]),
  "3x3 of rows across subgroups": shape([1, 2, 4, 40, 5], [3, 3], [1, 1], [1, 1]),
  "3x3 in groups without padding": shape([2, 6, 7, 8, 4], [3, 3], [1, 1], [0, 0], 2),
  "1x1": shape([2, 9, 4, 6, 5], [1, 1], [1, 1], [0, 0]),
  "1x1 in groups": shape([1, 8, 3, 3, 4], [1, 1], [1, 1], [0, 0], 4),
  "5x3 with uneven padding": shape([1, 2, 6, 7, 3], [5, 3], [1, 1], [1, 2]),
  "2x2 with wide padding": shape([1, 2, 5, 4, 3], [2, 2], [1, 1], [2, 2]),
  "3x3 stride 2": shape([2, 4, 8, 16, 5], [3, 3], [2, 2], [1, 1]),
  "3x3 stride 2 in groups": shape([1, 4, 9, 7, 6], [3, 3], [2, 2], [1, 1], 2),
  "5x5 stride 2 that ends within a vec4": shape([1, 3, 6, 12, 5], [5, 5], [2, 2], [2, 2]),
  "7x7 stride 4": shape([1, 3, 20, 16, 9], [7, 7], [4, 4], [3, 3]),
  "4x4 stride 4": shape([2, 3, 8, 12, 4], [4, 4], [4, 4], [0, 0]),
  "stride beyond the kernel": shape([1, 2, 9, 10, 3], [2, 1], [3, 2], [0, 0]),
  "depthwise 7x7": shape([2, 3, 9, 12, 3], [7, 7], [1, 1], [3, 3], 3),
  "depthwise 7x7 of rows within a subgroup": shape([1, 2, 9, 16, 2], [7, 7], [1, 1], [3, 3], 2),
  "depthwise 7x7 of rows across subgroups": shape([1, 2, 6, 40, 2], [7, 7], [1, 1], [3, 3], 2),
  "depthwise 5x5 stride 2": shape([2, 3, 7, 12, 3], [5, 5], [2, 2], [2, 2], 3),
  "depthwise 3x3 stride 2": shape([1, 5, 6, 9, 5], [3, 3], [2, 2], [1, 1], 5),
  "one pixel": shape([1, 1, 1, 1, 1], [3, 3], [1, 1], [1, 1]),
};

const KINDS = {
  lowerConv2d: { lower: lowerConv2d, of: convReference, inputs: ["x", "weight"], out: "y" },
  lowerConv2dInput: {
    lower: lowerConv2dInput,
    of: convInputReference,
    inputs: ["y", "weight"],
    out: "x",
  },
  lowerConv2dWeight: {
    lower: lowerConv2dWeight,
    of: convWeightReference,
    inputs: ["x", "y"],
    out: "weight",
  },
} as const;

type Kind = (typeof KINDS)[keyof typeof KINDS];

async function check(kind: Kind, s: ConvShape, schedule: string, name: string, fused = false) {
  const device = await deviceFor(schedule);
  const lengths = convLengths(s);
  const [a, b] = kind.inputs.map((input, i) => values(lengths[input], i + 1));
  const extra = values(lengths[kind.out], 3);
  const lowering = kind.lower(s, device.profile, ...fused ? [SCALE_AND_ADD] : []);
  const appended = fused ? [extra] : [];
  const [out] = await runLowering(device, lowering, [a, b], [extra.length], appended);
  const plain = kind.of(s, a, b);
  const expected = fused ? plain.map((value, i) => 2 * value + extra[i]) : plain;
  // Rounding grows with the number of terms.
  close(out, expected, kind === KINDS.lowerConv2dWeight ? 1e-4 : 3e-5, name);
}

for (const schedule of SCHEDULES) {
  for (const [op, kind] of Object.entries(KINDS)) {
    Deno.test(`${op}() agrees with the reference when run on ${schedule}`, async () => {
      for (const [name, s] of Object.entries(SHAPES)) await check(kind, s, schedule, name);
    });

    Deno.test(`${op}() applies an epilogue when run on ${schedule}`, async () => {
      for (const name of ["3x3", "3x3 stride 2 in groups", "depthwise 7x7"]) {
        await check(kind, SHAPES[name], schedule, name, true);
      }
    });
  }

  Deno.test(`lowerConv2dWeight() sums parts of many pixels when run on ${schedule}`, async () => {
    const many = shape([2, 3, 48, 44, 9], [3, 3], [1, 1], [1, 1]);
    const depthwise = shape([2, 10, 48, 44, 10], [5, 5], [1, 1], [2, 2], 10);
    for (const s of [many, depthwise]) {
      ok(lowerConv2dWeight(s, (await deviceFor(schedule)).profile).steps.length === 2);
      await check(KINDS.lowerConv2dWeight, s, schedule, "many pixels");
    }
  });

  Deno.test(`lowerConv2dInput() goes by images when scratch is short on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    const s = shape([3, 4, 8, 8, 5], [3, 3], [2, 2], [1, 1]);
    const bytesOfImage = 4 * 4 * 9 * 16;
    const limited = { ...device.profile, maxBindingBytes: 2 * bytesOfImage };
    const lengths = convLengths(s);
    const [g, weight] = [values(lengths.y, 1), values(lengths.weight, 2)];
    const [out] = await runLowering(device, lowerConv2dInput(s, limited), [g, weight], [lengths.x]);
    close(out, convInputReference(s, g, weight), 3e-5, "two images, then one");
    const tooSmall = { ...device.profile, maxBindingBytes: bytesOfImage - 4 };
    equal(lowerConv2dInput(s, tooSmall).scratch![0], bytesOfImage);
  });
}

Deno.test("lowerConv2d() reaches each tile of filters when shapes grow", async () => {
  const large = shape([1, 40, 24, 36, 64], [3, 3], [1, 1], [1, 1]);
  const rowwise = shape([1, 20, 20, 32, 32], [5, 5], [1, 1], [2, 2]);
  for (const s of [large, rowwise]) await check(KINDS.lowerConv2d, s, "cpu", "large");
});

Deno.test("lowerConv2d() throws when the kernel exceeds the padded input", async () => {
  const { profile } = await deviceFor("cpu");
  throws(
    () => lowerConv2d(shape([1, 1, 3, 3, 1], [6, 2], [1, 1], [1, 1]), profile),
    /6x2 kernel does not fit an input of 3x3/,
  );
  throws(
    () => lowerConv2d(shape([1, 3, 3, 3, 2], [1, 1], [1, 1], [0, 0], 2), profile),
    /2 groups do not divide 3 channels/,
  );
});
