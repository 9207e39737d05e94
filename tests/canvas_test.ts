import {
  deepStrictEqual as deepEqual,
  notDeepStrictEqual as notDeepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { Canvas, objectColour } from "../train/images/canvas.ts";
import { writeGif } from "../train/images/gif.ts";
import { blank, type Picture } from "../train/images/picture.ts";
import { withFolder } from "./temporary_folder.ts";

const BLACK = blank(8, 6);

function pixel({ data, width }: Picture, x: number, y: number): number[] {
  return [...data.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)];
}

/** A mask of 8 x 6 pixels that covers a rectangle. */
function rectangle(x0: number, y0: number, x1: number, y1: number) {
  const inside = (x: number, y: number) => x >= x0 && x < x1 && y >= y0 && y < y1;
  const data = Uint8Array.from({ length: 48 }, (_, i) => inside(i % 8, Math.floor(i / 8)) ? 1 : 0);
  return { data, width: 8, height: 6 };
}

Deno.test("objectColour() gives different colours to the first hundred objects", () => {
  const colours = Array.from({ length: 100 }, (_, i) => objectColour(i));
  equal(new Set(colours.map(String)).size, 100);
  ok(colours.flat().every((level) => Number.isInteger(level) && level >= 0 && level <= 255));
});

Deno.test("Canvas enlarges small images by whole numbers and reduces large ones", () => {
  const small = new Canvas(BLACK, { least: 20, most: 100 }).picture;
  deepEqual([small.width, small.height], [24, 18]);
  const large = new Canvas(blank(200, 50, [9, 8, 7]), { least: 20, most: 100 }).picture;
  deepEqual([large.width, large.height, ...pixel(large, 99, 24)], [100, 25, 9, 8, 7]);
  const same = new Canvas(BLACK, { least: 8, most: 8 }).picture;
  deepEqual(same, BLACK);
  ok(same.data !== BLACK.data, "the image itself is not drawn on");
});

Deno.test("Canvas.mask() tints what is inside, with a border", () => {
  const canvas = new Canvas(BLACK, { least: 8, most: 8 });
  canvas.mask(rectangle(2, 1, 7, 6), [200, 100, 0]);
  const { picture } = canvas;
  deepEqual(pixel(picture, 1, 3), [0, 0, 0]);
  deepEqual(pixel(picture, 2, 3), [190, 95, 0]);
  deepEqual(pixel(picture, 4, 3), [70, 35, 0]);
  const large = new Canvas(BLACK, { least: 80, most: 80 });
  large.mask(rectangle(2, 1, 7, 6), [200, 100, 0]);
  const tinted = (x: number, y: number) => pixel(large.picture, x, y)[0] > 0;
  deepEqual([tinted(19, 30), tinted(20, 30), tinted(69, 59), tinted(70, 59)], [
    false,
    true,
    true,
    false,
  ]);
});

Deno.test("Canvas draws points, boxes and captions where they are, cut at the edge", () => {
  const canvas = new Canvas(BLACK, { least: 80, most: 80 });
  canvas.point([4, 3], true);
  canvas.point([0, 0], false);
  deepEqual(pixel(canvas.picture, 40, 30), [40, 220, 90]);
  deepEqual(pixel(canvas.picture, 0, 0), [235, 50, 50]);
  deepEqual(pixel(canvas.picture, 44, 30), [255, 255, 255]);
  canvas.box([1, 1, 8, 6], [1, 2, 3]);
  deepEqual(pixel(canvas.picture, 10, 40), [1, 2, 3]);
  deepEqual(pixel(canvas.picture, 79, 10), [1, 2, 3]);
  deepEqual(pixel(canvas.picture, 11, 40), [0, 0, 0]);
  const before = canvas.picture.data.slice();
  canvas.caption("far too long for a picture of this size");
  deepEqual(canvas.picture.data, before);
  canvas.caption("7");
  notDeepEqual(canvas.picture.data, before);
});

/** Block types of a GIF file: sizes of its images, its delays in ms, and whether it repeats. */
function parseGif(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer);
  const word = (at: number) => view.getUint16(at, true);
  const table = (flags: number) => flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0;
  const found = { images: [] as number[][], delays: [] as number[], repeats: false };
  let at = 13 + table(bytes[10]);
  while (bytes[at] !== 0x3b) {
    if (bytes[at] === 0x21) {
      if (bytes[at + 1] === 0xf9) found.delays.push(10 * word(at + 4));
      if (bytes[at + 1] === 0xff) found.repeats = word(at + 16) === 0;
      at += 2;
    } else {
      equal(bytes[at], 0x2c);
      found.images.push([word(at + 5), word(at + 7)]);
      at += 10 + table(bytes[at + 9]) + 1;
    }
    while (bytes[at] > 0) at += bytes[at] + 1;
    at++;
  }
  equal(at, bytes.length - 1);
  return found;
}

Deno.test("writeGif() writes all pictures, or nothing", () =>
  withFolder(async (folder) => {
    const path = `${folder}/a.gif`;
    async function* pictures(count: number) {
      for (let i = 0; i < count; i++) yield blank(9, 5, [10 * i, 0, 255 - i]);
      await Promise.resolve();
      if (count === 4) throw new Error("no more");
    }
    await writeGif(path, pictures(3), 200);
    deepEqual(parseGif(await Deno.readFile(path)), {
      images: [[9, 5], [9, 5], [9, 5]],
      delays: [200, 200, 200],
      repeats: true,
    });
    await rejects(writeGif(`${folder}/b.gif`, pictures(4), 200), /no more/);
    deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name), ["a.gif"]);
  }));
