import assert from "node:assert/strict";
import { read, tensor } from "../engine/mod.ts";
import { type Affine, affineOf, affineSample, transformPoint } from "../train/augment/affine.ts";
import { boxMask, cutMix, drawCutMix } from "../train/augment/cutmix.ts";
import { drawPhotometric, photometric, PHOTOMETRIC_VALUES } from "../train/augment/photometric.ts";
import { Random } from "../train/data/random.ts";
import { maskBoxes, randomPoints } from "../train/prompting.ts";
import { randomKey } from "../engine/mod.ts";
import { close } from "./close.ts";

const STILL = { angle: 0, flip: false, scale: 1, shift: [0, 0] as const };

/** Bilinear sampling, zeros outside. */
function reference(image: Float32Array, size: number, [a, b, tx, d, e, ty]: Affine): Float32Array {
  const at = (x: number, y: number) =>
    x < 0 || y < 0 || x >= size || y >= size ? 0 : image[y * size + x];
  return image.map((_, i) => {
    const [x, y] = [i % size, Math.floor(i / size)];
    const [u, v] = [a * x + b * y + tx, d * x + e * y + ty];
    const [x0, y0] = [Math.floor(u), Math.floor(v)];
    const [fx, fy] = [u - x0, v - y0];
    const top = at(x0, y0) * (1 - fx) + at(x0 + 1, y0) * fx;
    const bottom = at(x0, y0 + 1) * (1 - fx) + at(x0 + 1, y0 + 1) * fx;
    return top * (1 - fy) + bottom * fy;
  });
}

for (const size of [3, 17, 33]) {
  const image = Float32Array.from({ length: size * size }, (_, i) => Math.sin(i * 1.3));

  Deno.test(`affineSample() turns, mirrors, scales and shifts ${size} pixels`, async () => {
    const parts = { angle: 0.3, flip: true, scale: 1.2, shift: [0.7, -1.1] as const };
    const affine = affineOf(parts, size);
    const x = tensor(image, [1, 1, size, size]);
    const view = await read(affineSample(x, tensor([...affine], [1, 6]), "bilinear"));
    close(view, reference(image, size, affine), 1e-4, "view");
  });

  Deno.test(`affineSample() only moves pixels when it makes a quarter turn of ${size}`, async () => {
    const affine = affineOf({ ...STILL, angle: Math.PI / 2 }, size);
    const x = tensor(image, [1, 1, size, size]);
    const view = await read(affineSample(x, tensor([...affine], [1, 6]), "nearest"));
    assert.deepEqual([...view].sort(), [...image].sort());
  });
}

Deno.test("transformPoint() finds where affineSample() puts a pixel", async () => {
  const size = 21;
  const image = new Float32Array(size * size);
  image[6 * size + 13] = 1;
  const affine = affineOf({ ...STILL, angle: -0.2, shift: [2, 1] }, size);
  const x = tensor(image, [1, 1, size, size]);
  const view = await read(affineSample(x, tensor([...affine], [1, 6]), "bilinear")) as Float32Array;
  const [px, py] = transformPoint(affine, 13, 6);
  const brightest = view.indexOf(Math.max(...view));
  assert.ok(Math.abs(px - brightest % size) <= 0.75);
  assert.ok(Math.abs(py - Math.floor(brightest / size)) <= 0.75);
});

Deno.test("photometric() changes nothing when no change was drawn", async () => {
  const amounts = new Float32Array(PHOTOMETRIC_VALUES);
  amounts.set([1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
  const image = Float32Array.from({ length: 35 }, (_, i) => i / 35);
  const same = await read(
    photometric(tensor(image, [1, 1, 5, 7]), tensor(amounts, [1, PHOTOMETRIC_VALUES])),
  );
  close(same, image, 1e-6, "image");
});

Deno.test("drawPhotometric() blurs with weights that add up to 1, for every draw", () => {
  const random = new Random(3);
  for (let i = 0; i < 50; i++) {
    const weights = drawPhotometric(random).subarray(2);
    assert.ok(Math.abs(weights.reduce((a, w) => a + w, 0) - 1) < 1e-5);
  }
});

Deno.test("cutMix() takes the box from the other image when one is drawn", async () => {
  const images = tensor(Float32Array.from({ length: 50 }, (_, i) => i < 25 ? 1 : 2), [2, 1, 5, 5]);
  const mask = boxMask(tensor([1, 1, 3, 4, 0, 0, 0, 0], [2, 4]), 5);
  const mixed = await read(cutMix(images, mask)) as Float32Array;
  assert.equal(mixed.slice(0, 25).filter((v) => v === 2).length, 6);
  assert.ok(mixed.slice(25).every((v) => v === 2));
});

Deno.test("drawCutMix() keeps its boxes inside the image, for every draw", () => {
  const random = new Random(5);
  for (let i = 0; i < 200; i++) {
    const [x0, y0, x1, y1] = drawCutMix(random, 33);
    assert.ok(0 <= x0 && x0 <= x1 && x1 <= 33 && 0 <= y0 && y0 <= y1 && y1 <= 33);
  }
});

Deno.test("maskBoxes() is tight and randomPoints() lie inside when a mask has pixels", async () => {
  const mask = new Float32Array(9 * 11);
  for (let y = 2; y <= 5; y++) for (let x = 3; x <= 9; x++) mask[y * 11 + x] = 1;
  const masks = tensor(mask, [1, 1, 9, 11]);
  assert.deepEqual([...await read(maskBoxes(masks))], [3, 2, 9, 5]);
  for (let seed = 0; seed < 5; seed++) {
    const [x, y] = await read(randomPoints(masks, randomKey(seed)));
    assert.equal(mask[y * 11 + x], 1);
  }
});
