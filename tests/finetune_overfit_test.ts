/** Fine-tuning from the command's arguments to the checkpoint, on slices of real scans. */
import { ok, strictEqual as equal } from "node:assert/strict";
import { encode } from "fast-png";
import { loadWeights, openCheckpoint } from "../engine/checkpoint/mod.ts";
import { configOf } from "../model/checkpoint_config.ts";
import { CONFIGS } from "../model/config.ts";
import { volumeFrames } from "../model/predictors/volume_source.ts";
import { ImagePredictor } from "../model/sam2/image_predictor.ts";
import type { RgbImage } from "../model/sam2/image_transform.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { readBytes } from "../train/data/files.ts";
import { readHdf5 } from "../train/data/hdf5.ts";
import { openImageFolder } from "../train/data/image_folder.ts";
import { parseTuneFlags } from "../train/finetune/options.ts";
import { runTuning } from "../train/finetune/run.ts";
import { recorder } from "./run_commands.ts";
import { sharedPath, sharedTest } from "./shared.ts";

/** Side of the part of a slice that is looked at, and of the model's input. */
const [CROP, SIZE] = [96, 64];
const LEFT_VENTRICLE = 3;
const FRAMES = 10;

interface Slice {
  readonly image: RgbImage;
  /** 1 inside the left ventricle. */
  readonly mask: Uint8Array;
}

/** The slices of a scan that show the left ventricle, cropped around it. */
async function heartSlices(name: string): Promise<Slice[]> {
  const path = sharedPath(`data/acdc/data/${name}.h5`);
  const arrays = await readHdf5(path, await readBytes(path), [
    { name: "image", as: "f32" },
    { name: "label", as: "u8" },
  ]);
  const { data, shape } = arrays.get("image")!;
  const labels = arrays.get("label")!.data;
  const [slices, height, width] = shape;
  const frames = volumeFrames({ data, shape: [slices, height, width] }, 0);
  const inside = Array.from(labels, (label) => label === LEFT_VENTRICLE);
  let [count, x, y] = [0, 0, 0];
  inside.forEach((here, i) => {
    if (!here) return;
    count++;
    x += i % width;
    y += Math.floor(i / width) % height;
  });
  const [left, top] = [x, y].map((sum) => Math.round(sum / count - CROP / 2));
  const all = await Promise.all(Array.from({ length: slices }, async (_, z) => {
    const frame = await frames.read(z);
    const image = new Uint8Array(CROP * CROP * 3);
    const mask = new Uint8Array(CROP * CROP);
    for (let i = 0; i < mask.length; i++) {
      const at = (top + Math.floor(i / CROP)) * width + left + i % CROP;
      mask[i] = Number(inside[z * height * width + at]);
      image.set(frame.data.subarray(3 * at, 3 * at + 3), 3 * i);
    }
    return { image: { data: image, width: CROP, height: CROP }, mask };
  }));
  return all.filter(({ mask }) => mask.includes(1));
}

async function writeFolder(folder: string, slices: readonly Slice[]): Promise<void> {
  await Deno.mkdir(`${folder}/images`, { recursive: true });
  await Deno.mkdir(`${folder}/masks`);
  const size = { width: CROP, height: CROP, depth: 8 } as const;
  for (const [i, { image, mask }] of slices.entries()) {
    const data = Uint8Array.from(image.data);
    await Deno.writeFile(`${folder}/images/${i}.png`, encode({ ...size, data, channels: 3 }));
    await Deno.writeFile(`${folder}/masks/${i}.png`, encode({ ...size, data: mask, channels: 1 }));
  }
}

/** The tight box of a mask. */
function boxOf(mask: Uint8Array): [number, number, number, number] {
  const inside = Array.from(mask.keys()).filter((i) => mask[i]);
  const [xs, ys] = [inside.map((i) => i % CROP), inside.map((i) => Math.floor(i / CROP))];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

async function meanDice(model: Sam2, slices: readonly Slice[]): Promise<number> {
  const predictor = new ImagePredictor(model);
  let total = 0;
  for (const { image, mask } of slices) {
    await predictor.setImage(image);
    const { maskLogits } = await predictor.predict([{ box: boxOf(mask) }], { multimask: false });
    const seen = maskLogits.map((logit) => Number(logit > 0));
    const shared = seen.filter((here, i) => here && mask[i]).length;
    const sizes = seen.filter(Boolean).length + mask.filter(Boolean).length;
    total += 2 * shared / sizes;
  }
  await predictor.reset();
  return total / slices.length;
}

sharedTest("finetune overfits ten slices of real scans to more than 0.95 Dice", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const scans = ["patient001_frame01", "patient001_frame02"];
    const slices = (await Promise.all(scans.map(heartSlices))).flat().slice(0, FRAMES);
    await writeFolder(`${folder}/data`, slices);
    equal((await openImageFolder(`${folder}/data`)).sequences.length, FRAMES);
    const out = `${folder}/run`;
    const start = `--random-weights 0 --model nano --size ${SIZE} --seed 0`;
    const rates = "--steps 180 --lr 2e-3 --clip 1 --layer-decay 1 --clicks 1";
    const args = `${folder}/data ${start} ${rates} --out ${out}`.split(" ");
    equal(await runTuning(parseTuneFlags(args)!, recorder(false).terminal), 0);
    const lines = (await Deno.readTextFile(`${out}/metrics.jsonl`)).trim().split("\n");
    equal(lines.length, 180);
    using file = await openCheckpoint(`${out}/weights.safetensors`);
    equal(configOf(file.tensors), "nano");
    const model = new Sam2({ ...CONFIGS.nano, imageSize: SIZE });
    await loadWeights(model, file);
    const dice = await meanDice(model, slices);
    ok(dice > 0.95, `mean Dice ${dice}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
