import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { decode } from "fast-png";
import { LINE_HEIGHT, textPicture, textWidth } from "../train/images/font.ts";
import { CLASS_COLOURS, displayRange, overlay, overlayPng } from "../train/images/overlay.ts";
import { blank, enlarge, grey, montage, type Picture, writePng } from "../train/images/picture.ts";
import { withFolder } from "./temporary_folder.ts";

function pixel({ data, width }: Picture, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

Deno.test("grey() maps the range to black and white", () => {
  const picture = grey(Float32Array.of(-1, 0, 1, 3), [2, 2], [-1, 1]);
  deepEqual([...picture.data], [0, 0, 0, 128, 128, 128, 255, 255, 255, 255, 255, 255]);
  deepEqual(pixel(grey(Float32Array.of(2, 2), [1, 2]), 1, 0), [0, 0, 0]);
  throws(() => grey(new Float32Array(3), [2, 2]), /3 pixels is not 2 x 2/);
});

Deno.test("enlarge() repeats each pixel", () => {
  const large = enlarge(grey(Float32Array.of(0, 1), [2, 1]), 3);
  deepEqual([large.width, large.height], [3, 6]);
  deepEqual(pixel(large, 2, 2), [0, 0, 0]);
  deepEqual(pixel(large, 0, 3), [255, 255, 255]);
});

Deno.test("montage() places pictures row by row", () => {
  const colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255]] as const;
  const out = montage(colours.map((c) => blank(4, 3, c)), { columns: 2, gap: 1 });
  deepEqual([out.width, out.height], [9, 7]);
  deepEqual(pixel(out, 3, 2), [255, 0, 0]);
  deepEqual(pixel(out, 4, 0), [0, 0, 0]);
  deepEqual(pixel(out, 5, 0), [0, 255, 0]);
  deepEqual(pixel(out, 0, 4), [0, 0, 255]);
  throws(() => montage([]), /at least one/);
});

Deno.test("writePng() writes a file that decodes to the same pixels", async () => {
  await withFolder(async (directory) => {
    const picture = grey(Float32Array.from({ length: 15 }, (_, i) => i), [3, 5]);
    await writePng(`${directory}/a.png`, picture);
    const back = decode(await Deno.readFile(`${directory}/a.png`));
    deepEqual([back.width, back.height, back.channels], [5, 3, 3]);
    deepEqual([...back.data], [...picture.data]);
    deepEqual([...Deno.readDirSync(directory)].map((e) => e.name), ["a.png"]);
    await rejects(() => writePng(`${directory}/b/a.png`, picture), /Cannot write .*b\/a\.png/);
  });
});

Deno.test("overlay() colours the labelled pixels of truth and prediction only", () => {
  const size = [40, 40] as const;
  const image = new Float32Array(1600).fill(0.5).fill(0, 0, 800);
  const truth = new Uint8Array(1600);
  for (let y = 10; y < 30; y++) truth.fill(2, y * 40 + 10, y * 40 + 30);
  const input = { image, size, classes: ["RV", "Myo", "LV"] };
  const plain = overlay(input);
  const both = overlay({ ...input, truth, prediction: new Uint8Array(1600) });
  equal(both.height, plain.height);
  ok(both.width > 3 * 320 && plain.width < 2 * 320);
  const coloured = (picture: Picture, from: number, to: number) => {
    let count = 0;
    for (let y = 30; y < 340; y++) {
      for (let x = from; x < to; x++) {
        const [r, g, b] = pixel(picture, x, y) as [number, number, number];
        if (Math.max(r, g, b) - Math.min(r, g, b) > 20) count++;
      }
    }
    return count;
  };
  const panel = 324; // The slice of 320 pixels and the gap.
  equal(coloured(both, 8, 8 + panel), 0);
  equal(coloured(both, 8 + panel, 8 + 2 * panel), 160 * 160);
  equal(coloured(both, 8 + 2 * panel, both.width), 0);
});

Deno.test("overlay() shows the classes' colours in its legend", () => {
  const picture = overlay({ image: new Float32Array(64), size: [8, 8], classes: ["A", "B"] });
  const found = new Set<string>();
  for (let y = 340; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++) found.add(pixel(picture, x, y).join());
  }
  ok(found.has(CLASS_COLOURS[0]!.join()) && found.has(CLASS_COLOURS[1]!.join()));
  ok(!found.has(CLASS_COLOURS[2]!.join()));
});

Deno.test("overlayPng() refuses labels that do not fill the slice", () => {
  const input = { image: new Float32Array(64), size: [8, 8] as const, classes: [] };
  deepEqual([...overlayPng(input).subarray(1, 4)], [0x50, 0x4e, 0x47]);
  throws(() => overlay({ ...input, truth: new Uint8Array(63) }), /63 labels do not fill .*8 x 8/);
});

Deno.test("displayRange() leaves out the brightest half percent", () => {
  const image = Float32Array.from({ length: 1000 }, (_, i) => i < 998 ? i / 1000 : 50);
  const [low, high] = displayRange(image);
  equal(low, 0);
  ok(high > 0.9 && high < 1);
});

Deno.test("textPicture() draws each character in its own cell", () => {
  const picture = textPicture("I?", [255, 255, 255]);
  deepEqual([picture.width, picture.height], [textWidth("I?"), LINE_HEIGHT]);
  const rows = Array.from(
    { length: 5 },
    (_, y) =>
      Array.from({ length: 7 }, (_, x) => pixel(picture, x, y)[0] === 255 ? "#" : ".").join(""),
  );
  deepEqual(rows, ["###.##.", ".#....#", ".#...#.", ".#.....", "###..#."]);
  deepEqual(textPicture("\u00e9", [1, 2, 3]), textPicture("?", [1, 2, 3]));
});
