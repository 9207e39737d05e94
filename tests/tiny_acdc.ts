/** A data set of a few small volumes in the layout of ACDC, written to a folder of a test. */
import { type File, ready } from "h5wasm";
import * as h5wasm from "h5wasm";

/** Contents of one file. */
export interface TinyImage {
  readonly image: Float32Array;
  readonly label: Uint8Array;
  readonly shape: readonly number[];
}

const TRAINING = ["patient001", "patient002", "patient003"];
const VALIDATION = "patient004";
const TEST = "patient005";
const SLICES = 3;
const SIDE = 32;

/**
 * Three training patients, one for validation and one for tests, each with one frame of three
 * slices of 32 x 32 pixels: a ring in a disc, and a disc beside it.
 */
export async function writeTinyAcdc(folder: string): Promise<void> {
  await Deno.mkdir(`${folder}/data/slices`, { recursive: true });
  const names: string[] = [];
  for (const [p, patient] of TRAINING.entries()) {
    for (let k = 0; k < SLICES; k++) {
      const name = `${patient}_frame01_slice_${k}`;
      names.push(name);
      const { image, label } = drawSlice(p, k);
      const slice = { image, label, shape: [SIDE, SIDE] };
      await writeHdf5(`${folder}/data/slices/${name}.h5`, slice);
    }
  }
  for (const [p, patient] of [VALIDATION, TEST].entries()) {
    const slices = Array.from({ length: SLICES }, (_, k) => drawSlice(3 + p, k));
    await writeHdf5(`${folder}/data/${patient}_frame01.h5`, {
      image: Float32Array.from(slices.flatMap((s) => [...s.image])),
      label: Uint8Array.from(slices.flatMap((s) => [...s.label])),
      shape: [SLICES, SIDE, SIDE],
    });
  }
  await Deno.writeTextFile(`${folder}/train_slices.list`, names.join("\n") + "\n");
  await Deno.writeTextFile(`${folder}/val.list`, `${VALIDATION}_frame01\n`);
  await Deno.writeTextFile(`${folder}/test.list`, `${TEST}_frame01\n`);
}

/** Writes the datasets `image` and `label`. */
export async function writeHdf5(path: string, { image, label, shape }: TinyImage): Promise<void> {
  const { FS } = await ready;
  const file: File = new h5wasm.File("tiny.h5", "w");
  file.create_dataset({ name: "image", data: image, shape: [...shape] });
  file.create_dataset({ name: "label", data: label, shape: [...shape] });
  file.close();
  await Deno.writeFile(path, FS.readFile("tiny.h5"));
}

function drawSlice(patient: number, slice: number): Pick<TinyImage, "image" | "label"> {
  const label = new Uint8Array(SIDE * SIDE);
  const image = new Float32Array(SIDE * SIDE);
  const grey = [0.1, 0.5, 0.3, 0.9];
  for (let y = 0; y < SIDE; y++) {
    for (let x = 0; x < SIDE; x++) {
      const left = Math.hypot(y - 16, x - 9 - patient / 2), right = Math.hypot(y - 16, x - 22);
      const value = right < 4 ? 3 : right < 7 ? 2 : left < 5 - slice / 2 ? 1 : 0;
      label[y * SIDE + x] = value;
      image[y * SIDE + x] = grey[value] + 0.02 * Math.sin(patient + x * 1.7 + y * 2.3 + slice);
    }
  }
  return { image, label };
}
