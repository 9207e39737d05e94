/** `deno task track`, run in this process. */
import {
  deepStrictEqual as deepEqual,
  match,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { FlatParameters } from "../engine/optim/mod.ts";
import { CONFIGS, STABLE_SINGLE_MASK } from "../model/config.ts";
import { decodeCocoRle, rleToMask } from "../model/predictors/rle.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";
import { VolumePredictor } from "../model/predictors/volume_predictor.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { plainHeader, readNifti, writeNifti } from "../train/data/nifti.ts";
import { folderFrames } from "../train/frames/folder.ts";
import { blank, writePng } from "../train/images/picture.ts";
import { fakeFfmpeg } from "./fake_ffmpeg.ts";
import { failure, filesOf, RANDOM, trackWith, writePicture, writtenMask } from "./run_sam.ts";
import { withFolder } from "./temporary_folder.ts";

/** The model of `RANDOM`, as the official builder makes it. */
async function trackingModel(): Promise<Sam2> {
  const model = new Sam2({
    ...CONFIGS.nano,
    imageSize: 64,
    maskDecoder: { ...CONFIGS.nano.maskDecoder, ...STABLE_SINGLE_MASK },
    binarizeMaskFromPtsForMemEnc: true,
  });
  await FlatParameters.create(model, { seed: 3 });
  return model;
}

const indexOf = async (out: string) => JSON.parse(await Deno.readTextFile(`${out}/track.json`));

/** A folder of frames, and a mask for them. */
async function writeClip(folder: string, count = 4): Promise<{ clip: string; mask: string }> {
  const clip = `${folder}/clip`, mask = `${folder}/mask.png`;
  await Deno.mkdir(clip);
  for (let t = 0; t < count; t++) await writePicture(`${clip}/${8 + t}.png`, t);
  const inside = blank(24, 20);
  for (let y = 5; y < 14; y++) inside.data.fill(255, (y * 24 + 3) * 3, (y * 24 + 11) * 3);
  await writePng(mask, inside);
  return { clip, mask };
}

const NO_FFMPEG = ["--ffmpeg", "no-such-ffmpeg"];

Deno.test("track gives what the predictor gives, on both sides of the prompts", () =>
  withFolder(async (folder) => {
    const { clip, mask } = await writeClip(folder);
    const out = `${folder}/out`;
    const { code, out: text } = await trackWith([
      ...[clip, ...RANDOM, ...NO_FFMPEG, "--out", out, "--device-info"],
      ...[
        "--prompt",
        "2:7:point:9,9",
        "--prompt",
        "2:7:box:3,3,15,15",
        "--prompt",
        "2:7:point:1,1,0",
      ],
      ...["--prompt", `2:3:mask:${mask}`],
    ]);
    equal(code, 0);
    match(
      text,
      /masks of 2 objects in 4 of 4 frames, overlay\.gif, track\.json \(.* of GPU memory\)/,
    );
    const index = await indexOf(out);
    deepEqual([index.complete, index.objects, index.frames], [true, [7, 3], 4]);
    deepEqual(await filesOf(out), [
      ...["003", "007"].flatMap((object) =>
        ["10", "11", "8", "9"].map((name) => `masks/${object}/${name}.png`)
      ),
      ...["overlay.gif", "track.json"],
    ]);
    const frames = await folderFrames(clip);
    const predictor = new VideoPredictor(await trackingModel(), frames, { fillHoleArea: 8 });
    await predictor.addPointsOrBox(2, 7, {
      points: [[9, 9], [1, 1]],
      labels: [1, 0],
      box: [3, 3, 15, 15],
    });
    await predictor.addMask(2, 3, maskOf());
    for (const reverse of [false, true]) {
      for await (const masks of predictor.propagate({ start: 2, reverse })) {
        const { frame, name, objects } = index.results[masks.frame];
        deepEqual([frame, name], [masks.frame, ["8", "9", "10", "11"][masks.frame]]);
        for (const [i, { object, object_score, file, segmentation, area }] of objects.entries()) {
          equal(object, masks.objectIds[i]);
          equal(object_score, masks.objectScores[i]);
          const inside = masks.logits.subarray(i * 480, (i + 1) * 480).map((v) => v > 0 ? 1 : 0);
          const written = await writtenMask(`${out}/${file}`);
          deepEqual([...written.data], [...inside]);
          deepEqual(rleToMask(decodeCocoRle(segmentation)), written);
          equal(area, inside.filter((v) => v > 0).length);
        }
      }
    }
    await predictor.close();
  }));

/** The mask of `writeClip`, which is written in colours. */
function maskOf() {
  const data = Uint8Array.from({ length: 480 }, (_, i) => {
    const [x, y] = [i % 24, Math.floor(i / 24)];
    return x >= 3 && x < 11 && y >= 5 && y < 14 ? 1 : 0;
  });
  return { data, width: 24, height: 20 };
}

Deno.test("track labels a scan as VolumePredictor does, with the objects' own numbers", () =>
  withFolder(async (folder) => {
    const shape = [3, 20, 24] as const;
    const scan = `${folder}/scan.nii.gz`;
    const { mask } = await writeClip(folder, 0);
    const image = Uint8Array.from({ length: 3 * 480 }, (_, i) => (i * 13) % 230);
    await writeNifti(scan, image, {
      ...plainHeader({ shape, spacing: [5, 1.5, 2] }),
      qformCode: 1,
    });
    const out = `${folder}/out`;
    const args = [scan, ...RANDOM, "--no-overlay", "--out", out];
    const prompts = ["--prompt", `1:9:mask:${mask}`, "--prompt", "1:200:point:20,3"];
    const { code, out: text } = await trackWith([...args, ...prompts, "--json"]);
    equal(code, 0);
    deepEqual(JSON.parse(text), await indexOf(out));
    equal((await filesOf(out)).length, 2 * 3 + 2);
    const stored = await readNifti(scan);
    const labels = await readNifti(`${out}/labels.nii.gz`);
    deepEqual(labels.header, stored.header);
    const predictor = new VolumePredictor(
      await trackingModel(),
      { data: stored.image, shape: stored.shape },
      { fillHoleArea: 8 },
    );
    await predictor.addMask(1, 9, maskOf());
    await predictor.addPointsOrBox(1, 200, { points: [[20, 3]], labels: [1] });
    const wanted = (await predictor.segment()).labels;
    await predictor.close();
    deepEqual([...labels.image], [...wanted].map((label) => [0, 9, 200][label]));
    ok(wanted.includes(1), "the mask is in its slice");
    equal(
      await failure(trackWith([...args, "--prompt", "1:0:point:1,1"])),
      "Object 0 cannot be a label of a scan: number the objects from 1 to 255.",
    );
  }));

const windows = Deno.build.os === "windows";
const named = (name: string) =>
  windows ? `${name} (ignored: the stand-in is a shell script)` : name;

Deno.test({
  name: named("track reads and writes video files through ffmpeg"),
  ignore: windows,
  fn: () =>
    withFolder(async (folder) => {
      const ffmpeg = await fakeFfmpeg(folder);
      await Deno.writeTextFile(`${folder}/video.mp4`, JSON.stringify({ frames: 9 }));
      const out = `${folder}/out`;
      const args = [`${folder}/video.mp4`, ...RANDOM, "--ffmpeg", ffmpeg, "--out", out];
      const back = ["--direction", "backward", "--max-frames", "1"];
      const { said } = await trackWith([...args, ...back, "--prompt", "5:1:point:3,2"]);
      equal(said, "");
      deepEqual(await filesOf(out), [
        ...["masks/001/00004.png", "masks/001/00005.png"],
        ...["overlay.mp4", "track.json"],
      ]);
      // Two pictures of 480 x 320 pixels.
      equal((await Deno.stat(`${out}/overlay.mp4`)).size, 2 * (15 + 480 * 320 * 3));
      const ahead = ["--direction", "forward", "--start-frame", "7"];
      await trackWith([...args, ...ahead, "--prompt", "5:1:point:3,2", "--no-overlay"]);
      deepEqual((await indexOf(out)).results.map(({ frame }: { frame: number }) => frame), [7, 8]);
      const first = ["--direction", "backward", "--prompt", "0:1:point:3,2", "--no-overlay"];
      await trackWith([...args, ...first]);
      deepEqual(await filesOf(out), ["masks/001/00000.png", "track.json"]);
    }),
});

Deno.test("track keeps what it has when a frame cannot be read", () =>
  withFolder(async (folder) => {
    const { clip } = await writeClip(folder);
    const bytes = await Deno.readFile(`${clip}/10.png`);
    await Deno.writeFile(`${clip}/10.png`, bytes.subarray(0, 200));
    const out = `${folder}/out`;
    const args = [clip, ...RANDOM, "--prompt", "0:1:point:9,9", "--out", out];
    match(await failure(trackWith(args)), /clip\/10\.png is a damaged PNG image: it ends early\.$/);
    deepEqual(await filesOf(out), ["masks/001/8.png", "masks/001/9.png", "track.json"]);
    const { complete, results } = await indexOf(out);
    deepEqual([complete, results.length], [false, 2]);
  }));

Deno.test("track ends in one sentence when something is wrong", () =>
  withFolder(async (folder) => {
    const { clip, mask } = await writeClip(folder, 2);
    const picture = `${clip}/8.png`;
    await writePng(`${folder}/small.png`, blank(3, 3, [255, 255, 255]));
    await writePng(`${folder}/black.png`, blank(24, 20));
    await Deno.writeTextFile(`${folder}/clip.avi`, "text");
    await Deno.mkdir(`${folder}/empty`);
    const prompt = (text: string) => ["--prompt", text];
    const point = prompt("0:1:point:3,3");
    const base = [...RANDOM, ...NO_FFMPEG, "--out", `${folder}/out`];
    const cases: readonly (readonly [args: string[], message: RegExp])[] = [
      [[clip], /^Say what to track: --prompt FRAME:OBJ:point:x,y, or a box or a mask\.$/],
      [[clip, ...prompt("1:point:3,3")], /^Option '--prompt .* It must be FRAME:OBJ:point:/],
      [[clip, ...prompt("-1:1:point:3,3")], /^Option '--prompt /],
      [[clip, ...prompt("0:1:box:3,3")], /It must be x0,y0,x1,y1 in pixels/],
      [[clip, ...prompt("0:1:point:3,3,7")], /with label 1 on the object or 0 off it/],
      [[clip, ...prompt("2:1:point:3,3")], /^There is no frame 2: the frames are 0 to 1\.$/],
      [[clip, ...point, "--start-frame", "2"], /^There is no frame 2: the frames are 0 to 1\.$/],
      [
        [clip, ...prompt("1:1:point:3,20")],
        /^The point 3,20 lies outside frame 1, which has 24 x 20 /,
      ],
      [[clip, ...prompt("1:1:box:3,3,25,9")], /^The box 3,3,25,9 reaches beyond frame 1, /],
      [
        [clip, ...prompt("0:1:box:1,1,2,2"), ...prompt("0:1:box:1,1,3,3")],
        /^Object 1 in frame 0 may have points and one box, or one mask, but not both\.$/,
      ],
      [[clip, ...point, ...prompt(`0:1:mask:${mask}`)], /^Object 1 in frame 0 may have /],
      [
        [clip, ...prompt(`0:1:mask:${folder}/small.png`)],
        /small\.png has 3 x 3 pixels, but frame 0 has 24 x 20\.$/,
      ],
      [
        [clip, ...prompt(`0:1:mask:${folder}/black.png`)],
        /black\.png is empty: all of it is black\.$/,
      ],
      [[clip, ...point, "--axis", "1"], /^--axis is for scans only\.$/],
      [[clip, ...point, "--direction", "up"], /It must be one of both, forward, backward/],
      [[picture, ...point], /8\.png is a single image: give a folder of frames, a video or a scan/],
      [[`${folder}/none`, ...point], /^Cannot read .*none: it does not exist\.$/],
      [[`${folder}/empty`, ...point], /empty has no PNG or JPEG file\.$/],
      [
        [`${folder}/clip.avi`, ...point],
        /clip\.avi is no image and no scan; videos are read by ffmpeg, but /,
      ],
    ];
    for (const [args, message] of cases) {
      match(await failure(trackWith([...args, ...base])), message, args.join(" "));
    }
    match(
      await failure(trackWith([clip, ...point, "--out", `${folder}/out`])),
      /^Give the weights of SAM 2 with --checkpoint FILE: the official ones are found at /,
    );
    await writePng(`${clip}/10.png`, blank(20, 24));
    match(
      await failure(trackWith([clip, ...point, ...base])),
      /10\.png has 20 x 24 pixels, but .*8\.png has 24 x 20: all frames must have one size\.$/,
    );
    await rejects(Deno.lstat(`${folder}/out`), Deno.errors.NotFound);
  }));

Deno.test({
  name: windows
    ? "track stops at Ctrl-C (ignored: Windows has no such signal)"
    : "track stops after the frame when Ctrl-C comes, and keeps what is written",
  ignore: windows,
  fn: () =>
    withFolder(async (folder) => {
      const { clip } = await writeClip(folder, 300);
      const out = `${folder}/out`;
      const root = new URL("../", import.meta.url);
      const command = ["train/launch.ts", "train/commands/track.ts"];
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", ...command, clip, ...RANDOM],
          ...["--prompt", "0:1:point:9,9", "--out", out],
        ],
        cwd: root,
        stdout: "null",
        stderr: "piped",
      }).spawn();
      const said = new Response(child.stderr).text();
      const exists = () => Deno.stat(`${out}/masks/001/9.png`).then(() => true, () => false);
      while (!await exists()) await new Promise((resolve) => setTimeout(resolve, 50));
      child.kill("SIGINT");
      equal((await child.status).code, 130);
      const { complete, results, frames } = await indexOf(out);
      deepEqual([complete, frames], [false, 300]);
      match(
        await said,
        /^Stopping: .*\n(.*\n)*Stopped after \d+ of 300 frames; their masks are in /m,
      );
      const written = await filesOf(`${out}/masks/001`);
      equal(results.length, written.length);
      ok(results.length >= 2 && results.length < 300, `${results.length} frames`);
      deepEqual((await filesOf(out)).filter((file) => !file.endsWith(".png")), ["track.json"]);
    }),
});
