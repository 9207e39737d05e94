/** `deno task segment`, run in this process. */
import {
  deepStrictEqual as deepEqual,
  match,
  notStrictEqual as notEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { saveWeights } from "../engine/checkpoint/mod.ts";
import { stateDict } from "../engine/nn/mod.ts";
import { FlatParameters } from "../engine/optim/mod.ts";
import { CONFIGS, STABLE_SINGLE_MASK } from "../model/config.ts";
import { boxOfMask, toXywh } from "../model/predictors/boxes.ts";
import { decodeCocoRle, rleToMask } from "../model/predictors/rle.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { writeSafetensors } from "../engine/safetensors.ts";
import { run } from "../train/commands/segment.ts";
import { plainHeader, readNifti, writeNifti } from "../train/data/nifti.ts";
import { readImage } from "../train/images/decode.ts";
import { RUN_FORMATS } from "../train/run/checkpoint.ts";
import { blank, writePng } from "../train/images/picture.ts";
import { hdf5Bytes } from "./data_files.ts";
import { TURNED } from "./jpeg_files.ts";
import { failure, filesOf, RANDOM, segmentWith, writePicture, writtenMask } from "./run_sam.ts";
import { withFolder } from "./temporary_folder.ts";

/** The model of `RANDOM`. */
const config = {
  ...CONFIGS.nano,
  imageSize: 64,
  maskDecoder: { ...CONFIGS.nano.maskDecoder, ...STABLE_SINGLE_MASK },
};
const model = new Sam2(config);
await FlatParameters.create(model, { seed: 3 });

const indexOf = async (out: string) => JSON.parse(await Deno.readTextFile(`${out}/segment.json`));

Deno.test("segment writes the three masks of a click, best first", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const out = `${folder}/out`;
    const args = [path, ...RANDOM, "--point", "9,9", "--out", out];
    const { code, out: text } = await segmentWith(args);
    equal(code, 0);
    const files = [
      "masks/1_1.png",
      "masks/1_2.png",
      "masks/1_3.png",
      "overlay.png",
      "segment.json",
    ];
    deepEqual(await filesOf(out), files);
    const { masks, width, height, model: made } = await indexOf(out);
    deepEqual([width, height, made], [24, 20, {
      config: "nano",
      size: 64,
      weights: "random, seed 3",
      precision: "f32",
    }]);
    const predictor = new ImagePredictor(model);
    await predictor.setImage(await readImage(path));
    const { ious, maskLogits } = await predictor.predict([{ points: [[9, 9]], labels: [1] }]);
    await predictor.reset();
    const order = [0, 1, 2].sort((a, b) => ious[b] - ious[a]);
    for (const [k, i] of order.entries()) {
      const logits = maskLogits.subarray(i * 480, (i + 1) * 480);
      const { file, segmentation, area, bbox, predicted_iou, object } = masks[k];
      deepEqual([file, object, predicted_iou], [files[k], 1, ious[i]]);
      const mask = await writtenMask(`${out}/${file}`);
      deepEqual(mask.data, Uint8Array.from(logits, (logit) => logit > 0 ? 1 : 0));
      deepEqual(rleToMask(decodeCocoRle(segmentation)), mask);
      deepEqual([area, bbox], [mask.data.filter((v) => v > 0).length, toXywh(boxOfMask(mask))]);
    }
    match(
      text,
      /out\/masks\/1_1\.png {2}score 0\.\d{3}, \d+ pixels, box .*\n.*\n.*\n.*out: 3 masks, /,
    );
    const overlay = await readImage(`${out}/overlay.png`);
    // Three panels, each enlarged to at least 320 pixels.
    deepEqual([overlay.width, overlay.height], [3 * 24 * 14 + 2 * 4, 20 * 14]);
  }));

Deno.test("segment takes several boxes for several objects, and replaces what it wrote before", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const args = [path, ...RANDOM, "--out", folder];
    await segmentWith([...args, "--point", "9,9"]);
    await Deno.writeTextFile(`${folder}/masks/mine.png`, "");
    const { out } = await segmentWith([
      ...args,
      ...["--box", "1,1,9,9", "--box", "2,3,20,15", "--json", "--device-info"],
    ]);
    const index = JSON.parse(out);
    deepEqual(index, await indexOf(folder));
    const named = index.masks.map((
      { object, file }: { object: number; file: string },
    ) => [object, file]);
    deepEqual(named, [[1, "masks/1.png"], [2, "masks/2.png"]]);
    deepEqual(await filesOf(folder), [
      ...["masks/1.png", "masks/2.png", "masks/mine.png"],
      ...["overlay.png", "picture.png", "segment.json"],
    ]);
    ok(index.device.gpu_bytes > 1e6);
  }));

Deno.test("segment starts from a mask, and steadies its result unless told not to", () =>
  withFolder(async (folder) => {
    // As large as mask prompts of this model, so that the mask is not resized.
    const path = await writePicture(`${folder}/picture.png`, 0, 16, 16);
    const mask = blank(16, 16);
    mask.data.fill(255, 0, 16 * 7 * 3);
    await writePng(`${folder}/mask.png`, mask);
    const maskLogits = Float32Array.from({ length: 256 }, (_, i) => i < 16 * 7 ? 10 : -10);
    const prompt = { points: [[3, 3]] as const, labels: [0], maskLogits };
    const plain = new Sam2({ ...config, maskDecoder: CONFIGS.nano.maskDecoder });
    await FlatParameters.create(plain, { seed: 3 });
    const scores: number[] = [];
    for (const [chosen, options] of [[model, []], [plain, ["--no-postprocessing"]]] as const) {
      const predictor = new ImagePredictor(chosen);
      await predictor.setImage(await readImage(path));
      const { ious } = await predictor.predict([prompt], { multimask: false });
      await predictor.reset();
      const args = [
        path,
        ...RANDOM,
        "--mask",
        `${folder}/mask.png`,
        "--point",
        "3,3,0",
        ...options,
      ];
      await segmentWith([...args, "--out", `${folder}/out`]);
      const [{ file, predicted_iou }, ...others] = (await indexOf(`${folder}/out`)).masks;
      deepEqual([file, predicted_iou, others], ["masks/1.png", ious[0], []]);
      scores.push(predicted_iou);
    }
    notEqual(scores[0], scores[1]);
  }));

Deno.test("segment --auto finds masks with the official fields", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const thresholds = ["--pred-iou-thresh", "0", "--stability-score-thresh", "0"];
    const auto = ["--auto", "--points-per-side", "2", "--box-nms-thresh", "1"];
    const out = `${folder}/out`;
    const { said } = await segmentWith([
      ...[path, ...RANDOM, ...auto, ...thresholds, "--no-multimask", "--out", out],
      "--device-info",
    ]);
    match(said, /^adapter: .*, class (cpu|gpu), \d+ lanes/);
    const { masks } = await indexOf(out);
    equal(masks.length, 4);
    const { area, bbox, segmentation, ...rest } = masks[0];
    deepEqual(Object.keys(rest), [
      ...["object", "file", "predicted_iou"],
      ...["stability_score", "point_coords", "crop_box"],
    ]);
    deepEqual(rest.crop_box, [0, 0, 24, 20]);
    ok(area > 0 && bbox.length === 4 && segmentation.size.join() === "20,24");
    const strict = await segmentWith([
      path,
      ...RANDOM,
      ...auto,
      "--pred-iou-thresh",
      "1",
      "--out",
      out,
    ]);
    match(strict.out, /^No mask passed the filters/);
    deepEqual(await filesOf(out), ["overlay.png", "segment.json"]);
  }));

Deno.test("segment labels a slice of a scan, and keeps its place in space", () =>
  withFolder(async (folder) => {
    const shape = [3, 20, 24] as const;
    const header = { ...plainHeader({ shape, spacing: [5, 1.5, 2] }), sformCode: 1 };
    const image = Uint8Array.from({ length: 3 * 20 * 24 }, (_, i) => (i * 7) % 200);
    await writeNifti(`${folder}/scan.nii.gz`, image, header);
    const out = `${folder}/out`;
    const args = [`${folder}/scan.nii.gz`, ...RANDOM, "--out", out];
    await segmentWith([...args, "--box", "2,2,11,15", "--slice", "2"]);
    const labels = await readNifti(`${out}/labels.nii.gz`);
    deepEqual(labels.header, (await readNifti(`${folder}/scan.nii.gz`)).header);
    const mask = await writtenMask(`${out}/masks/1.png`);
    ok(mask.data.includes(1));
    deepEqual([...labels.image], [...new Uint8Array(2 * 480), ...mask.data]);
    // Along the last axis, slices are 20 pixels wide and 3 high; the middle one is taken.
    await segmentWith([...args, "--box", "1,0,9,3", "--axis", "2"]);
    const { slice, axis, width, height, labels: listed } = await indexOf(out);
    deepEqual([slice, axis, width, height, listed.objects], [12, 2, 20, 3, 1]);
    const across = await readNifti(`${out}/labels.nii.gz`);
    const column = await writtenMask(`${out}/masks/1.png`);
    deepEqual([...across.image].filter((_, i) => i % 24 === 12), [...column.data]);
    equal(
      across.image.filter((label) => label > 0).length,
      column.data.filter((v) => v > 0).length,
    );
    equal(
      await failure(segmentWith([...args, "--point", "1,1", "--slice", "3"])),
      `There is no slice 3: ${folder}/scan.nii.gz has slices 0 to 2.`,
    );
  }));

Deno.test("segment says what it makes of NaN voxels and of turned photographs", () =>
  withFolder(async (folder) => {
    const data = Float32Array.from({ length: 480 }, (_, i) => i % 50 === 0 ? NaN : i);
    const scan = `${folder}/scan.h5`;
    await Deno.writeFile(scan, await hdf5Bytes({ image: { data, shape: [20, 24] } }));
    const out = `${folder}/out`;
    const { said } = await segmentWith([scan, ...RANDOM, "--point", "3,3", "--out", out]);
    match(said, /10 voxels of .*scan\.h5 are no finite numbers; they are taken as 0\./);
    await Deno.writeFile(`${folder}/turned.jpg`, TURNED.file);
    const turned = [`${folder}/turned.jpg`, ...RANDOM, "--point", "8,6", "--out", out];
    match(
      (await segmentWith(turned)).said,
      /turn it \(EXIF\); coordinates count in the 9 x 7 pixels/,
    );
    equal((await indexOf(out)).notes.length, 1);
  }));

Deno.test("segment takes a checkpoint, whose model it tells from the keys", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const weights = `${folder}/model.pt`;
    await saveWeights(model, weights);
    const args = [path, "--size", "64", "--point", "9,9"];
    await segmentWith([...args, "--checkpoint", weights, "--out", `${folder}/a`]);
    await segmentWith([...args, "--random-weights", "3", "--out", `${folder}/b`]);
    const [a, b] = [await indexOf(`${folder}/a`), await indexOf(`${folder}/b`)];
    deepEqual(a.masks, b.masks);
    deepEqual(a.model, { config: "nano", size: 64, weights, precision: "f32" });
    const wrong = [...args, "--checkpoint", weights, "--model", "t", "--sam-version", "2.0"];
    match(
      await failure(segmentWith([...wrong, "--out", `${folder}/a`])),
      /model\.pt does not fit the model: \d+ missing .* of another shape/,
    );
    deepEqual((await indexOf(`${folder}/a`)).masks, a.masks, "earlier results stay");
  }));

Deno.test("segment --allow-partial says what a checkpoint lacks, and refuses one without any weight", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const [part, other] = [`${folder}/part.safetensors`, `${folder}/other.safetensors`];
    const all = [...await stateDict(model)];
    await writeSafetensors(part, all.filter(([key]) => key !== "no_mem_embed"));
    await writeSafetensors(other, [["a", { shape: [1], data: Float32Array.of(1) }]]);
    const args = [path, "--size", "64", "--model", "nano", "--point", "9,9", "--allow-partial"];
    const out = ["--out", `${folder}/out`];
    const { said } = await segmentWith([...args, ...out, "--checkpoint", part]);
    const note = `${part}: 1 missing (no_mem_embed); what is missing stays random.`;
    ok(said.includes(note), said);
    deepEqual((await indexOf(`${folder}/out`)).notes, [note]);
    equal(
      await failure(segmentWith([...args, ...out, "--checkpoint", other])),
      `${other} has none of the model's weights.`,
    );
  }));

Deno.test("segment explains where checkpoints are found when none is given", async () => {
  const message = await run(["picture.png", "--point", "1,1", "--out", "out"]).catch((e) =>
    e.message
  );
  match(message, /^Give the weights of SAM 2 with --checkpoint FILE: .*sam2\.1_hiera_tiny\.pt/);
  match(message, /--random-weights 0 tries the pipeline without any\.$/);
});

Deno.test("segment points to predict when the checkpoint is of a run of train", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    const checkpoint = `${folder}/runs/1/best.safetensors`;
    await Deno.mkdir(`${folder}/runs/1`, { recursive: true });
    const weights = [["ema.no_mem_embed", { shape: [1], data: Float32Array.of(1) }]] as const;
    await writeSafetensors(checkpoint, weights, { format: RUN_FORMATS.train, run: "{}" });
    const args = [path, "--checkpoint", checkpoint, "--point", "1,1", "--out", `${folder}/out`];
    equal(
      await failure(segmentWith(args)),
      `${checkpoint} is of a run of \`deno task train\`, whose model finds its classes by itself ` +
        `instead of following prompts: use \`deno task predict ${folder}/runs/1 SCAN --out DIR\`.`,
    );
  }));

Deno.test("segment ends in one sentence when something is wrong", () =>
  withFolder(async (folder) => {
    const path = await writePicture(`${folder}/picture.png`);
    await writePng(`${folder}/small.png`, blank(3, 3, [255, 255, 255]));
    await Deno.writeTextFile(`${folder}/text.png`, "text");
    await Deno.writeFile(`${folder}/cut.jpg`, TURNED.file.subarray(0, 250));
    const base = [...RANDOM, "--out", `${folder}/out`];
    const cases: readonly (readonly [args: string[], message: RegExp])[] = [
      [[path], /^Say what to segment: --point, --box, --mask, or --auto for everything\.$/],
      [[path, "--auto", "--box", "1,1,2,2"], /^--auto goes without --point, --box and --mask\.$/],
      [[path, "--point", "24,3"], /^The point 24,3 lies outside .*, which has 24 x 20 pixels\.$/],
      [[path, "--point", "-1,3"], /^The point -1,3 lies outside /],
      [[path, "--box", "1,1,25,9"], /^The box 1,1,25,9 reaches beyond .*24 x 20 pixels\.$/],
      [[path, "--box", "9,1,1,9"], /^Option '--box .*' is invalid\. Its left upper corner /],
      [[path, "--box", "1,2,3"], /^Option '--box .* It must be x0,y0,x1,y1 in pixels/],
      [[path, "--point", "1"], /^Option '--point .* It must be x,y or x,y,label/],
      [[path, "--point", "1,2,3"], /with label 1 on the object or 0 off it/],
      [[path, "--point", "NaN,2"], /^Option '--point /],
      [
        [path, "--box", "1,1,2,2", "--box", "1,1,3,3", "--point", "1,1"],
        /^Several boxes stand for/,
      ],
      [
        [path, "--point", "1,1", "--points-per-side", "3"],
        /^--points-per-side goes with --auto\.$/,
      ],
      [[path, "--auto", "--max-hole-area", "3"], /^--max-hole-area goes without --auto\.$/],
      [
        [path, "--mask", `${folder}/small.png`],
        /^The mask .*small\.png has 3 x 3 pixels, but .* 24 x 20\.$/,
      ],
      [[path, "--mask", `${folder}/none.png`], /^Cannot read .*none\.png: it does not exist\.$/],
      [[path, "--point", "1,1", "--out", ""], /^Option '--out <dir>' argument '' is invalid\./],
      [
        [path, "--point", "1,1", "--out", path],
        /^Cannot make the folder .*: a file has that name\.$/,
      ],
      [
        [path, "--point", "1,1", "--out", `${folder}/${"a".repeat(300)}`],
        /^Cannot make the folder .*a: [^():]+\.$/,
      ],
      [[path, "--point", "1,1", "--slice", "0"], /^--slice is for scans only\.$/],
      [[path, "--point", "1,1", "--size", "50"], /^Option '--size <px>' .* a multiple of 32/],
      [
        [path, "--point", "1,1", "--sam-version", "2.0"],
        /^--sam-version goes with --model t, s, b\+ or l\.$/,
      ],
      [
        [path, "--point", "1,1", "--checkpoint", path],
        /^Give either --checkpoint or --random-weights/,
      ],
      [[`${folder}/none.png`, "--point", "1,1"], /^Cannot read .*none\.png: it does not exist\.$/],
      [[`${folder}/text.png`, "--point", "1,1"], /text\.png is no PNG or JPEG image and no scan: /],
      [[`${folder}/cut.jpg`, "--point", "1,1"], /^.*cut\.jpg is a damaged JPEG image: .*\.$/],
      [[folder, "--point", "1,1"], /is a folder: videos and folders of frames are for track\.$/],
      [[], /^Missing required argument 'input'; `deno task segment --help` lists the options\.$/],
    ];
    for (const [args, message] of cases) {
      match(await failure(segmentWith([...base, ...args])), message, args.join(" "));
    }
    const lost = [path, "--size", "64", "--checkpoint", `${folder}/text.png`, "--point", "1,1"];
    match(
      await failure(segmentWith([...lost, "--out", `${folder}/out`])),
      /text\.png is no checkpoint/,
    );
    await rejects(Deno.lstat(`${folder}/out`), Deno.errors.NotFound);
    await Deno.mkdir(`${folder}/masks`);
    await Deno.copyFile(path, `${folder}/masks/1.png`);
    const own = [`${folder}/masks/1.png`, ...RANDOM, "--point", "1,1", "--out", folder];
    match(
      await failure(segmentWith(own)),
      /1\.png would be overwritten by results; give another --out\.$/,
    );
  }));
