/** Makes data files for the tests of the readers. */
import h5wasm from "h5wasm";

/** A dataset to write. */
export interface HdfEntry {
  readonly data: Float32Array | Uint8Array | Int32Array;
  readonly shape: number[];
  readonly dtype?: string;
}

/** The bytes of an HDF5 file with gzip-compressed datasets. */
export async function hdf5Bytes(entries: Record<string, HdfEntry>): Promise<Uint8Array> {
  const { FS } = await h5wasm.ready;
  const name = "written_by_a_test.h5";
  const file = new h5wasm.File(name, "w");
  for (const [key, { data, shape, dtype }] of Object.entries(entries)) {
    file.create_dataset({
      name: key,
      data,
      shape,
      dtype: dtype ?? null,
      chunks: shape.map((n) => Math.max(1, Math.ceil(n / 2))),
      compression: "gzip",
    });
  }
  file.close();
  const bytes = FS.readFile(name, { encoding: "binary" });
  FS.unlink(name);
  return bytes;
}

/** Height and width of the slices of `writeMiniAcdc`. */
export const MINI_SIZE = [5, 4] as const;

/** A slice whose values tell volume, slice and pixel apart. */
export function miniSlice(
  volume: number,
  slice: number,
): { image: Float32Array; label: Uint8Array } {
  const count = MINI_SIZE[0] * MINI_SIZE[1];
  return {
    image: Float32Array.from({ length: count }, (_, i) => volume + slice / 16 + i / 1024),
    label: Uint8Array.from({ length: count }, (_, i) => (i + slice + volume) % 4),
  };
}

/** The folder of a small data set in the SSL4MIS layout; 3 training patients, 11 slices a frame. */
export async function writeMiniAcdc(): Promise<string> {
  const directory = await Deno.makeTempDir();
  await Deno.mkdir(`${directory}/data/slices`, { recursive: true });
  const slices: string[] = [];
  const volumes: string[] = [];
  for (const [p, patient] of ["patient003", "patient001", "patient002"].entries()) {
    for (const frame of [1, 2]) {
      const id = `${patient}_frame0${frame}`;
      volumes.push(id);
      // As in the public lists, slices stand in no order: 11, 10, ..., 1.
      for (let k = 11; k >= 1; k--) {
        slices.push(`${id}_slice_${k}`);
        const { image, label } = miniSlice(2 * p + frame, k);
        await writeHdf5(`${directory}/data/slices/${id}_slice_${k}.h5`, {
          image: { data: image, shape: [...MINI_SIZE] },
          label: { data: label, shape: [...MINI_SIZE] },
        });
      }
    }
  }
  for (const [v, id] of ["patient004_frame01", "patient005_frame01"].entries()) {
    const parts = [0, 1, 2].map((k) => miniSlice(10 + v, k));
    const shape = [parts.length, ...MINI_SIZE];
    await writeHdf5(`${directory}/data/${id}.h5`, {
      image: { data: Float32Array.from(parts.flatMap((s) => [...s.image])), shape },
      label: { data: Uint8Array.from(parts.flatMap((s) => [...s.label])), shape },
    });
  }
  await writeList(`${directory}/train_slices.list`, slices);
  await writeList(`${directory}/train.list`, volumes);
  await writeList(`${directory}/val.list`, ["patient004_frame01"]);
  await writeList(`${directory}/test.list`, ["patient005_frame01"]);
  return directory;
}

/** Writes an HDF5 file. */
export async function writeHdf5(path: string, entries: Record<string, HdfEntry>): Promise<void> {
  await Deno.writeFile(path, await hdf5Bytes(entries));
}

/** Writes a list file, one name a line. */
export async function writeList(path: string, names: readonly string[]): Promise<void> {
  await Deno.writeTextFile(path, names.map((name) => `${name}\n`).join(""));
}
