import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import { encode } from "fast-png";
import {
  decodeImage,
  imageFormat,
  readImage,
  readMask,
  sizeFromHeader,
} from "../train/images/decode.ts";
import { readJpegHeader } from "../train/images/jpeg_header.ts";
import { CMYK, GREY, PROGRESSIVE, TURNED } from "./jpeg_files.ts";
import { pngFile } from "./png_files.ts";
import { withFolder } from "./temporary_folder.ts";

const rgbOf = async (file: Uint8Array) => [...(await decodeImage(file, "file")).data];

for (const [name, sample] of Object.entries({ TURNED, PROGRESSIVE, GREY })) {
  Deno.test(`decodeImage() gives Pillow's pixels when a JPEG is ${name.toLowerCase()}`, async () => {
    const { data, width, height, turned } = await decodeImage(sample.file, "file");
    deepEqual([width, height, turned], [9, 7, name === "TURNED"]);
    deepEqual(data, sample.rgb);
  });
}

Deno.test("decodeImage() decodes several JPEG files at once", async () => {
  const samples = [GREY, PROGRESSIVE, TURNED, GREY];
  const images = await Promise.all(samples.map(({ file }) => decodeImage(file, "file")));
  deepEqual(images.map(({ data }) => data), samples.map(({ rgb }) => rgb));
});

Deno.test("decodeImage() decodes on after a JPEG that failed", async () => {
  const cut = TURNED.file.subarray(0, TURNED.file.length - 10);
  const headless = TURNED.file.slice();
  // The tables of the Huffman code are gone.
  headless.fill(0xee, headless.length - 120);
  await rejects(decodeImage(cut, "a.jpg"), {
    name: "UserError",
    message: "a.jpg is a damaged JPEG image: premature end of JPEG file.",
  });
  await rejects(
    decodeImage(headless, "b.jpg"),
    /^UserError: b\.jpg is a damaged JPEG image: .+\.$/,
  );
  deepEqual(await rgbOf(GREY.file), [...GREY.rgb]);
});

Deno.test("decodeImage() says what it cannot read", async () => {
  const message = (bytes: Uint8Array) => decodeImage(bytes, "x").then(() => "", (e) => e.message);
  equal(await message(CMYK), "x is a JPEG image in CMYK colours: convert it to RGB first.");
  equal(await message(new TextEncoder().encode("text")), "x is neither a PNG nor a JPEG image.");
  equal(await message(new Uint8Array()), "x is neither a PNG nor a JPEG image.");
  equal(
    await message(GREY.file.subarray(0, 30)),
    "x is a damaged JPEG image: its header tells no size.",
  );
  const large = { width: 20000, height: 20000, depth: 8, colour: 0, rows: [] };
  equal(
    await message(pngFile(large)),
    "x has 20000 x 20000 pixels; at most 178956970 can be read.",
  );
  const small = { ...large, width: 2, height: 2, depth: 1, interlaced: true };
  equal(
    await message(pngFile(small)),
    "x is an interlaced PNG image of 1 bits: save it without interlacing.",
  );
  equal(
    await message(pngFile({ ...large, width: 0 })),
    "x is a damaged PNG image: its header tells no size.",
  );
});

Deno.test("decodeImage() stretches grey levels of few bits", async () => {
  const grey = { colour: 0, height: 1 };
  const bits = pngFile({ ...grey, width: 10, depth: 1, rows: [[0b10100000, 0b01000000]] });
  const levels = [1, 0, 1, 0, 0, 0, 0, 0, 0, 1].map((v) => 255 * v);
  deepEqual(await rgbOf(bits), levels.flatMap((v) => [v, v, v]));
  const two = pngFile({ ...grey, width: 3, depth: 2, rows: [[0b00011100]] });
  deepEqual(await rgbOf(two), [0, 85, 255].flatMap((v) => [v, v, v]));
  const four = pngFile({ ...grey, width: 3, depth: 4, rows: [[0x0f, 0x30]] });
  deepEqual(await rgbOf(four), [0, 255, 51].flatMap((v) => [v, v, v]));
});

Deno.test("decodeImage() takes the upper bits of 16, and leaves transparency out", async () => {
  const deep = pngFile({ width: 2, height: 1, depth: 16, colour: 0, rows: [[12, 255, 200, 0]] });
  deepEqual(await rgbOf(deep), [12, 12, 12, 200, 200, 200]);
  const clear = pngFile({
    width: 1,
    height: 2,
    depth: 8,
    colour: 6,
    rows: [[1, 2, 3, 0], [4, 5, 6, 9]],
  });
  deepEqual(await rgbOf(clear), [1, 2, 3, 4, 5, 6]);
  const pair = pngFile({ width: 2, height: 1, depth: 8, colour: 4, rows: [[7, 0, 8, 255]] });
  deepEqual(await rgbOf(pair), [7, 7, 7, 8, 8, 8]);
});

Deno.test("decodeImage() turns palettes into colours, and refuses absent ones", async () => {
  const palette = [1, 2, 3, 40, 50, 60, 7, 8, 9];
  const base = { height: 2, colour: 3, palette };
  const two = pngFile({ ...base, width: 3, depth: 2, rows: [[0b00011000], [0b10000000]] });
  deepEqual(await rgbOf(two), [1, 2, 3, 40, 50, 60, 7, 8, 9, 7, 8, 9, 1, 2, 3, 1, 2, 3]);
  const eight = pngFile({ ...base, width: 1, depth: 8, rows: [[1], [2]], transparency: [0] });
  deepEqual(await rgbOf(eight), [40, 50, 60, 7, 8, 9]);
  await rejects(rgbOf(pngFile({ ...base, width: 1, depth: 8, rows: [[1], [3]] })), {
    message: "file is a damaged PNG image: a pixel has colour 3 of a palette of 3.",
  });
});

Deno.test("decodeImage() refuses a PNG that is cut or changed, and reads interlaced ones", async () => {
  const data = Uint8Array.from({ length: 9 * 7 * 3 }, (_, i) => (37 * i) % 251);
  const picture = { data, width: 9, height: 7, channels: 3, depth: 8 } as const;
  deepEqual(await rgbOf(encode(picture, { interlace: "Adam7" })), [...data]);
  const file = encode(picture);
  await rejects(rgbOf(file.subarray(0, 80)), /is a damaged PNG image: it ends early\.$/);
  const changed = file.slice();
  changed[60] ^= 1;
  await rejects(rgbOf(changed), /is a damaged PNG image: CRC mismatch for chunk IDAT/);
});

Deno.test("sizeFromHeader() needs the beginning of a file only", () => {
  const png = pngFile({ width: 300, height: 2, depth: 8, colour: 0, rows: [] });
  deepEqual(sizeFromHeader(png.subarray(0, 24)), { width: 300, height: 2 });
  equal(sizeFromHeader(png.subarray(0, 23)), undefined);
  const jpeg = sizeFromHeader(TURNED.file)!;
  deepEqual([jpeg.width, jpeg.height], [9, 7]);
  equal(sizeFromHeader(new Uint8Array(100)), undefined);
  equal(imageFormat(Uint8Array.of(0xff, 0xd8, 0xff)), "jpeg");
});

Deno.test("readJpegHeader() reads no further than there are bytes", () => {
  deepEqual(readJpegHeader(TURNED.file), { width: 9, height: 7, components: 3, orientation: 6 });
  for (let length = 0; length < TURNED.file.length; length++) {
    const header = readJpegHeader(TURNED.file.subarray(0, length));
    if (header) deepEqual([header.width, header.height], [9, 7]);
  }
  const lies = TURNED.file.slice();
  // The EXIF directory is said to lie beyond the segment.
  lies[lies.findIndex((_, i) => lies[i] === 0x2a && lies[i + 1] === 0) + 2] = 0xff;
  deepEqual(readJpegHeader(lies), { width: 9, height: 7, components: 3, orientation: 1 });
});

Deno.test("readMask() takes what is neither black nor transparent", () =>
  withFolder(async (folder) => {
    const path = `${folder}/mask.png`;
    await Deno.writeFile(
      path,
      pngFile({
        ...{ width: 4, height: 1, depth: 8, colour: 6 },
        rows: [[0, 0, 0, 255, 0, 0, 1, 255, 9, 9, 9, 0, 255, 255, 255, 1]],
      }),
    );
    deepEqual(await readMask(path), { data: Uint8Array.of(0, 1, 0, 1), width: 4, height: 1 });
    await Deno.writeFile(
      path,
      pngFile({ width: 2, height: 1, depth: 16, colour: 0, rows: [[0, 0, 0, 0]] }),
    );
    await rejects(readMask(path), { message: `The mask ${path} is empty: all of it is black.` });
    const faint = { width: 3, height: 1, depth: 16, colour: 0, rows: [[0, 0, 0, 1, 2, 0]] };
    await Deno.writeFile(path, pngFile(faint));
    deepEqual((await readMask(path)).data, Uint8Array.of(0, 1, 1), "16 bits count whole");
    await Deno.writeFile(path, GREY.file);
    await rejects(readMask(path), /is no PNG image, as masks are/);
    await rejects(readImage(`${folder}/none.png`), {
      name: "DataError",
      message: `Cannot read ${folder}/none.png: it does not exist.`,
    });
  }));
