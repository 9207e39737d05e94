import { deepStrictEqual as deepEqual, match, ok, strictEqual as equal } from "node:assert/strict";
import type { VolumeShape } from "../train/data/dataset.ts";
import { type NiftiHeader, readNifti, writeNifti } from "../train/data/nifti.ts";
import { readVolume } from "../train/data/read_volume.ts";
import { inFolder, predictWith, trainWith } from "./run_commands.ts";

Deno.test("runPrediction() writes labels with the place of the scan, and overlays", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`, out = `${folder}/out`, scans = `${folder}/scans`;
    await trainWith(["--data", `${folder}/data`, "--steps", "1", "--out", run]);
    await Deno.mkdir(scans);
    const stored = `${folder}/data/data/patient005_frame01.h5`;
    const { image, shape } = await readVolume(stored);
    const header = oblique(shape);
    await writeNifti(`${scans}/a.nii.gz`, Uint8Array.from(image, (v) => 100 + 150 * v), header);
    await Deno.copyFile(stored, `${scans}/b.h5`);
    const { code, out: text } = await predictWith([run, scans, "--out", out]);
    equal(code, 0);
    match(text, /a.nii.gz \(RV \d+\.\d ml, Myo .*\n.*b.h5 -> .*b.nii.gz \(RV \d+ voxels, /);
    const a = await readNifti(`${out}/a.nii.gz`), b = await readNifti(`${out}/b.nii.gz`);
    deepEqual(a.header, (await readNifti(`${scans}/a.nii.gz`)).header);
    deepEqual(b.shape, shape);
    // Both have grey levels from 0 to 1 when they reach the trainer, so it finds the same discs.
    for (const { image } of [a, b]) deepEqual([...new Set(image)].sort(), [0, 1, 3]);
    for (const name of ["a", "b"]) ok((await Deno.stat(`${out}/${name}.png`)).size > 100);
  }));

Deno.test("runPrediction() throws a sentence when scans or folders are wrong", () =>
  inFolder(async (folder) => {
    const run = `${folder}/run`, scans = `${folder}/data/data`, out = `${folder}/out`;
    await trainWith(["--data", `${folder}/data`, "--steps", "1", "--out", run]);
    const predict = (...args: string[]) => predictWith(args).then(() => "", (e) => e.message);
    match(await predict(run, `${folder}/none.nii`, "--out", out), /none\.nii: it does not exist/);
    match(await predict(run, folder, "--out", out), /has no \.nii, \.nii\.gz or \.h5 file/);
    match(await predict(run, scans, "--out", scans), /lies in the folder/);
    match(await predict(scans, scans, "--out", out), /is no folder of a run/);
    await Deno.writeTextFile(`${scans}/patient005_frame01.nii`, "text");
    match(await predict(run, scans, "--out", out), /would both be written to one file/);
    match(
      await predict(run, `${scans}/patient005_frame01.nii`, "--out", out),
      /frame01\.nii is neither a NIfTI/,
    );
    match(await predict(run, scans), /Required option '--out <dir>'/);
  }));

/** A place in space with a rotation, unequal voxels and an offset. */
function oblique([S, H, W]: VolumeShape): NiftiHeader {
  const srow = [-1.2, 0.3, 0.1, 40, 0.2, 1.4, -0.5, -30, 0.1, 0.4, 9.5, 12].map(Math.fround);
  return {
    dims: [W, H, S],
    pixDims: [1, 1.25, 1.5, 9.5],
    units: 2,
    qformCode: 0,
    sformCode: 1,
    quaternion: [0, 0, 0],
    qoffset: [0, 0, 0],
    srow,
    affine: [],
    orientation: "",
  };
}
