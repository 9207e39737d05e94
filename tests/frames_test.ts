import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { hasFfmpeg, startFfmpeg } from "../train/frames/ffmpeg.ts";
import { folderFrames } from "../train/frames/folder.ts";
import { inputKind } from "../train/frames/input_kind.ts";
import { openFrames } from "../train/frames/open.ts";
import { PpmStream } from "../train/frames/ppm_stream.ts";
import { scanFrames } from "../train/frames/scan.ts";
import { videoFrames } from "../train/frames/video_file.ts";
import { writeVideo } from "../train/frames/write_video.ts";
import { blank, writePng } from "../train/images/picture.ts";
import { hdf5Bytes } from "./data_files.ts";
import { callsOf, fakeFfmpeg } from "./fake_ffmpeg.ts";
import { GREY, TURNED } from "./jpeg_files.ts";
import { pngFile } from "./png_files.ts";
import { withFolder } from "./temporary_folder.ts";

Deno.test("folderFrames() reads images in natural order when they are asked for", () =>
  withFolder(async (folder) => {
    for (const [name, level] of [["f10.PNG", 30], ["f2.png", 20], ["f1.png", 10]] as const) {
      await writePng(`${folder}/${name}`, blank(9, 7, [level, level, level]));
    }
    await Deno.writeFile(`${folder}/f3.jpeg`, GREY.file);
    for (const other of [".hidden.png", "notes.txt"]) {
      await Deno.writeTextFile(`${folder}/${other}`, "");
    }
    await Deno.mkdir(`${folder}/sub.png`);
    await using frames = await folderFrames(`${folder}/`);
    deepEqual([frames.count, frames.width, frames.height], [4, 9, 7]);
    deepEqual([0, 1, 2, 3].map((i) => frames.nameOf(i)), ["f1", "f2", "f3", "f10"]);
    equal((await frames.read(3)).data[0], 30);
    deepEqual((await frames.read(2)).data, GREY.rgb);
  }));

Deno.test("folderFrames() refuses folders that are no video", () =>
  withFolder(async (folder) => {
    const message = () => folderFrames(folder).then(() => "", (e) => e.message);
    equal(await message(), `${folder} has no PNG or JPEG file.`);
    await Deno.writeFile(`${folder}/0.jpg`, TURNED.file);
    await writePng(`${folder}/1.png`, blank(7, 9));
    equal(
      await message(),
      `${folder}/1.png has 7 x 9 pixels, but ${folder}/0.jpg has 9 x 7: all frames must have one size.`,
    );
    await Deno.rename(`${folder}/1.png`, `${folder}/0.png`);
    equal(await message(), `${folder} has 0.jpg and 0.png: their results would share a name.`);
    await Deno.writeTextFile(`${folder}/0.png`, "text");
    await Deno.rename(`${folder}/0.png`, `${folder}/1.png`);
    equal(await message(), `${folder}/1.png is neither a PNG nor a JPEG image.`);
    await rejects(folderFrames(`${folder}/none`), {
      message: `Cannot read ${folder}/none: it does not exist.`,
    });
  }));

Deno.test("inputKind() goes by the content", () =>
  withFolder(async (folder) => {
    const path = `${folder}/file.txt`;
    const kindOf = async (bytes: Uint8Array) => {
      await Deno.writeFile(path, bytes);
      return await inputKind(path);
    };
    equal(await inputKind(folder), "folder");
    equal(await kindOf(GREY.file), "image");
    equal(
      await kindOf(pngFile({ width: 1, height: 1, depth: 8, colour: 0, rows: [[1]] })),
      "image",
    );
    equal(await kindOf(Uint8Array.of(0x1f, 0x8b, 8)), "scan");
    equal(await kindOf(Uint8Array.of(0, 0, 1, 0x5c)), "scan");
    equal(
      await kindOf(await hdf5Bytes({ image: { data: new Float32Array(4), shape: [2, 2] } })),
      "scan",
    );
    equal(await kindOf(new Uint8Array(600)), "other");
    equal(await kindOf(new Uint8Array()), "other");
    await rejects(inputKind(`${folder}/none`), /Cannot read .*none: it does not exist/);
    await Deno.writeFile(path, GREY.file);
    await rejects(openFrames(path), /file\.txt is a single image: give a folder of frames/);
  }));

Deno.test("scanFrames() shows slices along an axis, and refuses scans without a value", () =>
  withFolder(async (folder) => {
    const path = `${folder}/scan.h5`;
    const data = Float32Array.from({ length: 24 }, (_, i) => i);
    data[1] = NaN;
    await Deno.writeFile(path, await hdf5Bytes({ image: { data, shape: [2, 3, 4] } }));
    const scan = await scanFrames(path, { axis: 1, range: [0, 255], spacing: [5, 2, 1] });
    deepEqual([scan.count, scan.height, scan.width, scan.replaced], [3, 2, 4, 1]);
    const { data: pixels } = await scan.read(0);
    deepEqual(Array.from(pixels).filter((_, i) => i % 3 === 0), [0, 0, 2, 3, 12, 13, 14, 15]);
    deepEqual([scan.header.dims, scan.header.pixDims], [[4, 3, 2], [1, 1, 2, 5]]);
    data.fill(NaN);
    await Deno.writeFile(path, await hdf5Bytes({ image: { data, shape: [2, 3, 4] } }));
    await rejects(scanFrames(path), { message: `${path} has no voxel with a finite value.` });
  }));

/** A stream that brings its bytes in parts of some length. */
function stream(bytes: Uint8Array, part: number): ReadableStream<Uint8Array> {
  const parts = Array.from(
    { length: Math.ceil(bytes.length / part) },
    (_, i) => bytes.slice(i * part, (i + 1) * part),
  );
  return ReadableStream.from(parts);
}

Deno.test("PpmStream reads pictures, however the bytes arrive", async () => {
  const text = "P6\n2 1\n255\nABCDEFP6 1 2 255 GHIJKLP6\n1 1\n255\n   ";
  const bytes = new TextEncoder().encode(text);
  for (const part of [1, 5, 1000]) {
    const pictures = new PpmStream(stream(bytes, part));
    const found: [number, number, string][] = [];
    for (let p = await pictures.next(); p; p = await pictures.next()) {
      found.push([p.width, p.height, new TextDecoder().decode(p.data)]);
    }
    deepEqual(found, [[2, 1, "ABCDEF"], [1, 2, "GHIJKL"], [1, 1, "   "]]);
  }
  const next = (part: string) => new PpmStream(stream(new TextEncoder().encode(part), 4)).next();
  await rejects(next("P6\n2 1\n255\nABCDE"), /ends within a frame/);
  await rejects(next("P5\n2 1\n255\nAB"), /none of PPM pictures/);
});

const ignore = Deno.build.os === "windows";
const fake = (name: string, run: (folder: string, ffmpeg: string) => Promise<void>) =>
  Deno.test({
    name: ignore ? `${name} (ignored: the stand-in is a shell script)` : name,
    ignore,
    fn: () => withFolder(async (folder) => await run(folder, await fakeFfmpeg(folder))),
  });

fake("videoFrames() counts frames, and reads any at any time", async (folder, ffmpeg) => {
  const path = `${folder}/video`;
  await Deno.writeTextFile(path, JSON.stringify({ frames: 100 }));
  const counted: number[] = [];
  await using frames = await videoFrames(path, { ffmpeg, onCount: (n) => counted.push(n) });
  deepEqual([frames.count, frames.width, frames.height], [100, 6, 4]);
  deepEqual([counted, frames.fps, frames.nameOf(3)], [[1, 100], 60, "00003"]);
  const level = async (i: number) => (await frames.read(i)).data[0];
  // Two at a time, as where one frame is read ahead.
  deepEqual(await Promise.all([level(1), level(2)]), [1, 2]);
  equal((await callsOf(folder)).length, 2, "going on needs no new start");
  for (const i of [90, 91, 60, 30, 29, 28, 27, 99, 0]) equal(await level(i), i);
  const starts = (await callsOf(folder)).slice(1).map((line) => /\d+/.exec(line)![0]);
  // Going back, the frames before the one that is asked for are decoded too.
  deepEqual(starts, ["0", "90", "0", "99", "0"]);
});

fake("videoFrames() starts no decoder after it was closed", async (folder, ffmpeg) => {
  const path = `${folder}/video`;
  await Deno.writeTextFile(path, JSON.stringify({ frames: 5 }));
  const frames = await videoFrames(path, { ffmpeg });
  const ahead = frames.read(1);
  for (let i = 0; i < 2; i++) await frames[Symbol.asyncDispose]();
  equal((await ahead).data[0], 1);
  await rejects(async () => await frames.read(2), { message: /has been closed: no frame/ });
  equal((await callsOf(folder)).length, 2);
});

fake(
  "videoFrames() says where a video ends early, and what ffmpeg cannot read",
  async (folder, ffmpeg) => {
    const path = `${folder}/video`;
    await Deno.writeTextFile(path, JSON.stringify({ frames: 3 }));
    {
      await using frames = await videoFrames(path, { ffmpeg });
      await rejects(async () => await frames.read(3), { message: `${path} ends before frame 3.` });
      equal((await frames.read(0)).data[0], 0);
    }
    await Deno.writeTextFile(path, "no video");
    await rejects(videoFrames(path, { ffmpeg }), {
      name: "UserError",
      message: `ffmpeg finds no video in ${path}: Invalid data found when processing input.`,
    });
    await rejects(videoFrames(path, { ffmpeg: `${folder}/absent` }), {
      name: "NoFfmpegError",
      message: /videos are read by ffmpeg, but .*absent is not installed: install it/,
    });
    await rejects(videoFrames(path, { ffmpeg: folder }), { name: "NoFfmpegError" });
    const advising = `${folder}/advising`;
    const lines = "echo 'No streams.' >&2\necho 'To ignore this, add a mark.' >&2\nexit 1\n";
    await Deno.writeTextFile(advising, `#!/bin/sh\n${lines}`);
    await Deno.chmod(advising, 0o755);
    await rejects(videoFrames(path, { ffmpeg: advising }), {
      message: `ffmpeg finds no video in ${path}: No streams.`,
    });
  },
);

fake("writeVideo() writes complete files only", async (folder, ffmpeg) => {
  const path = `${folder}/out.mp4`;
  equal(await hasFfmpeg(ffmpeg), true);
  equal(await hasFfmpeg(`${folder}/absent`), false);
  equal(await hasFfmpeg(folder), false, "a folder is no program");
  async function* pictures(count: number) {
    for (let i = 0; i < count; i++) yield blank(3, 2, [i, i, i]);
    await Promise.resolve();
    if (count > 2) throw new Error("no more");
  }
  await writeVideo(path, pictures(2), { fps: 5, ffmpeg });
  equal((await Deno.stat(path)).size, 2 * (11 + 18));
  await Deno.remove(path);
  await rejects(writeVideo(path, pictures(3), { fps: 5, ffmpeg }), /no more/);
  const broken = `${folder}/broken`;
  await Deno.writeTextFile(
    broken,
    "#!/bin/sh\necho 'first' >&2\necho 'Disk is full' >&2\nexit 1\n",
  );
  await Deno.chmod(broken, 0o755);
  await rejects(writeVideo(path, pictures(2), { fps: 5, ffmpeg: broken }), {
    message: `ffmpeg cannot write ${path}: Disk is full.`,
  });
  deepEqual([...Deno.readDirSync(folder)].map(({ name }) => name).filter((n) => /out/.test(n)), []);
});

const real = await hasFfmpeg("ffmpeg");
Deno.test({
  name: `videoFrames() and writeVideo() agree with ffmpeg${real ? "" : " (needs ffmpeg)"}`,
  ignore: !real,
  fn: () =>
    withFolder(async (folder) => {
      const path = `${folder}/video.mp4`;
      async function* pictures() {
        for (let i = 0; i < 70; i++) yield blank(33, 17, [3 * i, 3 * i, 3 * i]);
        await Promise.resolve();
      }
      await writeVideo(path, pictures(), { fps: 5, ffmpeg: "ffmpeg" });
      const uneven = `${folder}/uneven.mkv`;
      const args = ["-i", path, "-vf", "setpts=(N+N*N/50)/TB", "-vsync", "vfr", uneven];
      const { child, complaint } = startFfmpeg("ffmpeg", args);
      await Promise.all([child.stdout.cancel(), complaint, child.status]);
      for (const file of [path, uneven]) {
        await using frames = await videoFrames(file);
        deepEqual([frames.count, frames.width, frames.height], [70, 34, 18]);
        for (const i of [0, 1, 69, 68, 2, 40, 39]) {
          const { data } = await frames.read(i);
          ok(Math.abs(data[0] - 3 * i) <= 2, `frame ${i} of ${file} has level ${data[0]}`);
        }
      }
    }),
});
