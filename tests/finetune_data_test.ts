/** Data for fine-tuning: image folders, nnU-Net and Decathlon layouts, and what is wrong with them. */
import { deepStrictEqual as deepEqual, rejects, strictEqual as equal } from "node:assert/strict";
import { encode } from "fast-png";
import { openImageFolder } from "../train/data/image_folder.ts";
import { plainHeader, writeNifti } from "../train/data/nifti.ts";
import { openNnunet } from "../train/data/nnunet.ts";
import { Random } from "../train/data/random.ts";
import { drawClip } from "../train/finetune/sampling.ts";
import { pngFile } from "./png_files.ts";
import { withFolder } from "./temporary_folder.ts";

const png = (width: number, height: number, channels: 1 | 3, fill: (i: number) => number) =>
  encode({
    width,
    height,
    channels,
    depth: 8,
    data: Uint8Array.from({ length: width * height * channels }, (_, i) => fill(i)),
  });

async function write(path: string, content: Uint8Array | string): Promise<void> {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  if (typeof content === "string") await Deno.writeTextFile(path, content);
  else await Deno.writeFile(path, content);
}

Deno.test("openImageFolder() gives single images and videos in natural order", () =>
  withFolder(async (folder) => {
    await write(`${folder}/images/a.png`, png(4, 3, 3, (i) => i));
    await write(`${folder}/masks/a.png`, png(4, 3, 1, (i) => i % 3));
    for (const frame of [10, 9]) {
      await write(`${folder}/images/clip/${frame}.png`, png(2, 2, 3, () => frame));
      await write(`${folder}/masks/clip/${frame}.png`, png(2, 2, 1, () => 7));
    }
    const { sequences: [single, video] } = await openImageFolder(folder);
    deepEqual([single.count, video.count], [1, 2]);
    const { image, labels } = await single.read(0);
    deepEqual([image.width, image.height, image.data[5]], [4, 3, 5]);
    deepEqual(Array.from(labels), [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]);
    equal((await video.read(0)).image.data[0], 9);
    const clip = await drawClip(new Random(1), [video], 0, { frames: 2, objects: 3 });
    deepEqual([clip.frames.length, clip.objects], [2, [7]]);
  }));

Deno.test("openImageFolder() takes grey levels and palette indices of any number of bits", () =>
  withFolder(async (folder) => {
    await write(`${folder}/images/a.png`, png(3, 2, 3, (i) => i));
    const mask = `${folder}/masks/a.png`;
    const labelsOf = async (file: Uint8Array) => {
      await write(mask, file);
      const { sequences: [single] } = await openImageFolder(folder);
      return Array.from((await single.read(0)).labels);
    };
    const size = { width: 3, height: 2 };
    const grey = { ...size, colour: 0 };
    deepEqual(
      await labelsOf(pngFile({ ...grey, depth: 1, rows: [[0b01000000], [0b10100000]] })),
      [0, 1, 0, 1, 0, 1],
    );
    const deep = [[0, 7, 1, 44, 0, 0], [0, 0, 255, 255, 0, 1]];
    deepEqual(await labelsOf(pngFile({ ...grey, depth: 16, rows: deep })), [
      7,
      300,
      0,
      0,
      65535,
      1,
    ]);
    const palette = [0, 0, 0, 9, 9, 9, 9, 9, 9, 1, 2, 3];
    const few = { ...size, colour: 3, palette, depth: 2, rows: [[0b00011000], [0b11000000]] };
    deepEqual(await labelsOf(pngFile(few)), [0, 1, 2, 3, 0, 0]);
    await rejects(labelsOf(pngFile({ ...few, interlaced: true })), {
      message: `${mask} is an interlaced PNG image of 2 bits: save it without interlacing.`,
    });
    await rejects(labelsOf(new TextEncoder().encode("text")), {
      message: `${mask} is no PNG image.`,
    });
  }));

Deno.test("openImageFolder() says which mask is missing or does not fit", () =>
  withFolder(async (folder) => {
    await write(`${folder}/images/a.png`, png(4, 3, 3, () => 0));
    await Deno.mkdir(`${folder}/masks`);
    await rejects(openImageFolder(folder), {
      name: "DataError",
      message: `${folder}/images/a.png has no mask: ${folder}/masks/a.png is missing.`,
    });
    await write(`${folder}/masks/a.png`, png(3, 4, 1, () => 1));
    const { sequences: [wrongSize] } = await openImageFolder(folder);
    await rejects(wrongSize.read(0), { name: "DataError", message: /3 x 4 pixels.*has 4 x 3\.$/ });
    await write(`${folder}/masks/a.png`, png(4, 3, 3, (i) => i));
    const { sequences: [coloured] } = await openImageFolder(folder);
    await rejects(coloured.read(0), { name: "DataError", message: /is in colours/ });
  }));

const SHAPE = [2, 3, 4] as const;
const voxels = (fill: (i: number) => number) =>
  Uint8Array.from({ length: SHAPE[0] * SHAPE[1] * SHAPE[2] }, (_, i) => fill(i));

async function writeScan(path: string, data: Uint8Array, shape: readonly [number, number, number]) {
  await Deno.mkdir(path.slice(0, path.lastIndexOf("/")), { recursive: true });
  await writeNifti(path, data, plainHeader({ shape }));
}

Deno.test("openNnunet() reads what dataset.json lists, or what is in imagesTr", () =>
  withFolder(async (folder) => {
    const label = voxels((i) => i < 12 ? 0 : i % 5);
    await writeScan(`${folder}/imagesTr/case_1_0000.nii.gz`, voxels((i) => i * 10), SHAPE);
    await writeScan(`${folder}/labelsTr/case_1.nii.gz`, label, SHAPE);
    await write(`${folder}/dataset.json`, JSON.stringify({ file_ending: ".nii.gz" }));
    await write(`${folder}/imagesTr/._case_1_0000.nii.gz`, "resources");
    const found = await openNnunet(folder);
    const listed = async (image: string) => {
      const training = [{ image, label: "./labelsTr/case_1.nii.gz" }];
      await write(`${folder}/dataset.json`, JSON.stringify({ training }));
      return (await openNnunet(folder)).sequences;
    };
    const decathlon = await listed("./imagesTr/case_1_0000.nii.gz");
    const withoutChannel = await listed("./imagesTr/case_1.nii.gz");
    deepEqual(withoutChannel.map(({ name }) => name), ["case_1"]);
    await rejects(listed("./imagesTr/case_2.nii.gz"), /case_2\.nii\.gz: it does not exist\.$/);
    for (const sequences of [found.sequences, decathlon, withoutChannel]) {
      deepEqual(sequences.map(({ count }) => count), [2]);
      const { image, labels } = await sequences[0].read(1);
      deepEqual([image.width, image.height], [4, 3]);
      deepEqual(Array.from(labels), Array.from(label.subarray(12)));
    }
    const clip = await drawClip(new Random(3), found.sequences, 0, { frames: 1, objects: 2 });
    equal(clip.objects.length, 2);
  }));

Deno.test("openNnunet() says what is wrong with a data set", () =>
  withFolder(async (folder) => {
    const refused = (message: RegExp) =>
      rejects(openNnunet(folder), { name: "DataError", message });
    await refused(/^Cannot read .*dataset\.json: it does not exist\.$/);
    await write(`${folder}/dataset.json`, "{");
    await refused(/dataset\.json is no JSON/);
    await write(`${folder}/dataset.json`, JSON.stringify({ training: [{ image: "a" }] }));
    await refused(/training case without "image" or "label": \{"image":"a"\}\.$/);
    await write(`${folder}/dataset.json`, "{}");
    await refused(/imagesTr is no folder that can be read\.$/);
    await writeScan(`${folder}/imagesTr/x_0000.nii.gz`, voxels(() => 1), SHAPE);
    await Deno.mkdir(`${folder}/labelsTr`);
    await refused(/has no label: labelsTr\/x\.nii\.gz is missing\.$/);
    await writeScan(`${folder}/labelsTr/x.nii.gz`, voxels(() => 1), [2, 4, 3]);
    await refused(/x\.nii\.gz has 2 x 4 x 3 voxels, but .* has 2 x 3 x 4\.$/);
    await writeScan(`${folder}/labelsTr/x.nii.gz`, voxels((i) => i % 3), SHAPE);
    await write(`${folder}/dataset.json`, JSON.stringify({ labels: { organ: 1, ignore: 2 } }));
    await refused(/x\.nii\.gz has voxels of label 2, which dataset\.json calls "ignore"; /);
    await write(`${folder}/dataset.json`, JSON.stringify({ labels: { organ: 1, ignore: 3 } }));
    equal((await openNnunet(folder)).sequences.length, 1);
  }));

Deno.test("drawClip() throws when the data have no object", async () => {
  const image = { data: new Uint8Array(12), width: 2, height: 2 };
  const read = () => Promise.resolve({ image, labels: new Uint8Array(4) });
  await rejects(
    drawClip(new Random(0), [{ id: "empty", name: "empty", count: 3, read }], 0, {
      frames: 1,
      objects: 1,
    }),
    { name: "DataError", message: "None of 200 frames of the data has an object in its labels." },
  );
});
