/** `deno task finetune` on scans in the nnU-Net layout: clips with memory, and wrong arguments. */
import {
  deepStrictEqual as deepEqual,
  ok,
  rejects,
  strictEqual as equal,
  throws,
} from "node:assert/strict";
import { openCheckpoint } from "../engine/checkpoint/mod.ts";
import { CONFIGS } from "../model/config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { plainHeader, writeNifti } from "../train/data/nifti.ts";
import { publishedWeights, trainedSize } from "../train/run/published_weights.ts";
import { parseTuneFlags } from "../train/finetune/options.ts";
import { runTuning } from "../train/finetune/run.ts";
import { startModel } from "../train/finetune/start.ts";
import { recorder } from "./run_commands.ts";
import { writeSam20 } from "./sam20_file.ts";

const SHAPE = [3, 32, 32] as const;

/** A scan with a bright square that moves from slice to slice. */
async function writeData(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/imagesTr`, { recursive: true });
  await Deno.mkdir(`${folder}/labelsTr`);
  await Deno.writeTextFile(`${folder}/dataset.json`, '{"file_ending": ".nii.gz"}');
  const label = Uint8Array.from({ length: 3 * 32 * 32 }, (_, i) => {
    const [x, y, z] = [i % 32, Math.floor(i / 32) % 32, Math.floor(i / 1024)];
    return Number(x >= 8 + z && x < 20 + z && y >= 10 && y < 22);
  });
  const image = label.map((inside, i) => 40 + 120 * inside + i * 7 % 13);
  const header = plainHeader({ shape: SHAPE });
  await writeNifti(`${folder}/imagesTr/a_0000.nii.gz`, image, header);
  await writeNifti(`${folder}/labelsTr/a.nii.gz`, label, header);
}

const tune = (text: string) =>
  runTuning(parseTuneFlags(text.split(" "))!, recorder(false).terminal);

async function weights(path: string): Promise<Map<string, string>> {
  using file = await openCheckpoint(path);
  const all = new Map<string, string>();
  for (const [key, tensor] of publishedWeights(file)) all.set(key, `${await tensor.read()}`);
  return all;
}

Deno.test("runTuning() tunes memory over frames, keeps frozen parts, and goes on from its checkpoint", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await writeData(`${folder}/data`);
    const common = `${folder}/data --size 32 --frames 2 --clicks 1 --freeze trunk,neck --seed 5`;
    const [first, second] = [`${folder}/first`, `${folder}/second`];
    const started = `${common} --random-weights 3 --lr 1e-3`;
    equal(await tune(`${started} --steps 2 --out ${first}`), 0);
    const one = `${first}/last.safetensors`;
    equal(await tune(`${common} --checkpoint ${one} --lr 0 --steps 1 --out ${second}`), 0);
    const [before, after] = [await weights(one), await weights(`${second}/last.safetensors`)];
    deepEqual(after, before);
    const keys = new Sam2(CONFIGS.nano).namedParameters().map(([key]) => key);
    deepEqual([...before.keys()].sort(), keys.sort());
    deepEqual(await weights(`${first}/weights.safetensors`), before);
    using plain = await openCheckpoint(`${first}/weights.safetensors`);
    deepEqual([plain.metadata, trainedSize(plain)], [{ image_size: "32" }, 32]);
    const log = (await Deno.readTextFile(`${first}/metrics.jsonl`)).trim().split("\n");
    const lines = log.map((line) => JSON.parse(line));
    deepEqual(lines.map(({ step }) => step), [1, 2]);
    ok(lines.every(({ loss, focal, dice }) => loss > 0 && focal > 0 && dice > 0));
    await rejects(tune(`${started} --steps 1 --out ${first}`), { name: "UserError" });
    await rejects(tune(`${common} --checkpoint ${folder}/none.pt`), { name: "UserError" });
    await rejects(tune(`${folder}/data/imagesTr --random-weights 0`), {
      name: "DataError",
      message: /has neither a dataset\.json .* nor a folder "images" with "masks" beside it\.$/,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("startModel() tells the version from the checkpoint where --model names the rest", async () => {
  const path = await Deno.makeTempFile({ suffix: ".safetensors" });
  try {
    await writeSam20(path);
    // The file has 15 of the 468 keys of SAM 2.0; 2.1 has 471.
    for (const model of [undefined, "sam2.1_hiera_t"] as const) {
      await rejects(startModel({ checkpoint: path }, model ? { model } : {}), /: 453 missing /);
    }
    await rejects(
      startModel({ checkpoint: path }, { model: "nano" }),
      / unexpected .* of another /,
    );
  } finally {
    await Deno.remove(path);
  }
});

Deno.test("parseTuneFlags() refuses what cannot be, in a sentence", () => {
  const refused = (args: string, message: RegExp) =>
    throws(() => parseTuneFlags(args.split(" ")), { name: "UserError", message });
  refused("data", /^Give the weights to start from, either with --checkpoint FILE or/);
  refused("data --checkpoint a.pt --random-weights 0", /^Give the weights to start from/);
  refused("data --random-weights 0 --freeze head", /"head" is none of trunk, neck, memory/);
  refused("data --random-weights 0 --size 100", /multiple of 32/);
  refused("--random-weights 0", /^Give the folder of the data to tune on, or a run with --resume/);
  refused("data --random-weights 0 --resume x", /^--resume goes on with the weights of the run;/);
  refused("--resume x --out y", /--out cannot go with it\.$/);
  refused("data --random-weights 0 --val 0.2 --fold 1", /^Give either --val or --fold, not both/);
  refused("data --random-weights 0 --val 1", /share between 0 and 1, or a folder/);
  refused(
    "data --random-weights 0 --freeze trunk,neck,memory,prompts,decoder",
    /^With all parts frozen there is nothing to tune\.$/,
  );
});
