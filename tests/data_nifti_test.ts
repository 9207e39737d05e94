import {
  deepStrictEqual as deepEqual,
  match,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { decodeNifti, readNifti, writeNifti } from "../train/data/nifti.ts";
import { readVolume } from "../train/data/read_volume.ts";
import { hdf5Bytes } from "./data_files.ts";
import { withFolder } from "./temporary_folder.ts";

interface Fields {
  dims?: number[];
  type?: number;
  slope?: number;
  inter?: number;
  little?: boolean;
  version?: 1 | 2;
}

const SROW = [-1.5, 0, 0.1, 90, 0, -1.25, 0.2, 126.5, 0.05, 0, 10, -72];
const SIZES: Record<number, number> = {
  2: 1,
  4: 2,
  8: 4,
  16: 4,
  64: 8,
  256: 1,
  512: 2,
  768: 4,
  1024: 8,
};

/** Writes a header field by field from the standard's table, independently of the reader. */
function niftiFile(values: number[], fields: Fields = {}): Uint8Array<ArrayBuffer> {
  const { dims = [4, 3, 2], type = 16, slope = 1, inter = 0, little = true, version = 1 } = fields;
  const start = version === 1 ? 352 : 544;
  const size = SIZES[type] ?? 4;
  const view = new DataView(new ArrayBuffer(start + values.length * size));
  const u8 = (at: number, bytes: number[]) => bytes.forEach((b, i) => view.setUint8(at + i, b));
  if (version === 1) {
    view.setInt32(0, 348, little);
    [dims.length, ...dims].forEach((n, i) => view.setInt16(40 + 2 * i, n, little));
    view.setInt16(70, type, little);
    view.setInt16(72, size * 8, little);
    [-1, 1.5, 1.25, 10].forEach((x, i) => view.setFloat32(76 + 4 * i, x, little));
    [start, slope, inter].forEach((x, i) => view.setFloat32(108 + 4 * i, x, little));
    view.setUint8(123, 2); // mm
    view.setInt16(252, 1, little);
    view.setInt16(254, 2, little);
    [0.01, 0.99, 0.02, 1, 2, 3, ...SROW].forEach((x, i) => view.setFloat32(256 + 4 * i, x, little));
    u8(344, [0x6e, 0x2b, 0x31, 0]);
  } else {
    view.setInt32(0, 540, little);
    u8(4, [0x6e, 0x2b, 0x32, 0, 13, 10, 26, 10]);
    view.setInt16(12, type, little);
    view.setInt16(14, size * 8, little);
    [dims.length, ...dims].forEach((n, i) => view.setBigInt64(16 + 8 * i, BigInt(n), little));
    [-1, 1.5, 1.25, 10].forEach((x, i) => view.setFloat64(104 + 8 * i, x, little));
    view.setBigInt64(168, BigInt(start), little);
    view.setFloat64(176, slope, little);
    view.setFloat64(184, inter, little);
    view.setInt32(344, 1, little);
    view.setInt32(348, 2, little);
    [0.01, 0.99, 0.02, 1, 2, 3, ...SROW].forEach((x, i) => view.setFloat64(352 + 8 * i, x, little));
    view.setInt32(500, 2, little);
  }
  const put: Record<number, (at: number, x: number) => void> = {
    2: (at, x) => view.setUint8(at, x),
    256: (at, x) => view.setInt8(at, x),
    4: (at, x) => view.setInt16(at, x, little),
    512: (at, x) => view.setUint16(at, x, little),
    8: (at, x) => view.setInt32(at, x, little),
    768: (at, x) => view.setUint32(at, x, little),
    16: (at, x) => view.setFloat32(at, x, little),
    64: (at, x) => view.setFloat64(at, x, little),
    1024: (at, x) => view.setBigInt64(at, BigInt(x), little),
  };
  values.forEach((x, i) => put[type]?.(start + i * size, x));
  return new Uint8Array(view.buffer);
}

const COUNT = Array.from({ length: 24 }, (_, i) => i);

async function refuses(bytes: Uint8Array, pattern: RegExp): Promise<void> {
  await withFolder(async (directory) => {
    const path = `${directory}/scan.nii`;
    await Deno.writeFile(path, bytes);
    await rejects(() => readVolume(path), (error: Error) => {
      equal(error.name, "DataError");
      match(error.message, pattern);
      match(error.message, /^[^\n]*scan\.nii[^\n]*\.$/);
      return true;
    });
  });
}

Deno.test("readNifti() reads every element type in both byte orders and versions", async () => {
  await withFolder(async (directory) => {
    for (const type of Object.keys(SIZES).map(Number)) {
      for (const little of [true, false]) {
        for (const version of [1, 2] as const) {
          const path = `${directory}/patient7.nii`;
          await Deno.writeFile(
            path,
            niftiFile(COUNT, { type, little, version, slope: 2, inter: -3 }),
          );
          const volume = await readNifti(path);
          deepEqual([...volume.image], COUNT.map((x) => 2 * x - 3), `type ${type}`);
          deepEqual(volume.shape, [2, 3, 4]);
          deepEqual(volume.spacing, [10, 1.25, 1.5]);
          equal(volume.id, "patient7");
          equal(volume.replaced, 0);
          equal(volume.header.orientation, "LPS");
          equal(volume.header.pixDims[0], -1);
        }
      }
    }
  });
});

Deno.test("readNifti() leaves intensities as they are when scl_slope is 0", async () => {
  await withFolder(async (directory) => {
    const path = `${directory}/a.nii`;
    await Deno.writeFile(path, niftiFile(COUNT, { slope: 0, inter: 7 }));
    deepEqual([...(await readNifti(path)).image], COUNT);
  });
});

Deno.test("readNifti() replaces and reports NaN and infinite voxels", async () => {
  await withFolder(async (directory) => {
    const path = `${directory}/a.nii`;
    await Deno.writeFile(path, niftiFile(COUNT.with(3, NaN).with(9, -Infinity)));
    const volume = await readNifti(path);
    equal(volume.replaced, 2);
    deepEqual([...volume.image], COUNT.with(3, 0).with(9, 0));
  });
});

Deno.test("writeNifti() keeps place, spacing and voxel order when it writes labels", async () => {
  await withFolder(async (directory) => {
    const labels = Uint8Array.from({ length: 24 }, (_, i) => (i * 7) % 4);
    for (const ending of ["nii", "nii.gz"]) {
      for (const version of [1, 2] as const) {
        const source = `${directory}/image.nii`;
        const target = `${directory}/label.${ending}`;
        await Deno.writeFile(source, niftiFile(COUNT, { version, little: false }));
        const { header } = await readNifti(source);
        await writeNifti(target, labels, header);
        const back = await readNifti(target);
        deepEqual(Uint8Array.from(back.image), labels);
        deepEqual(back.spacing, [10, 1.25, 1.5]);
        deepEqual(back.header, floats(header), `${ending} ${version}`);
        const first = (await Deno.readFile(target)).slice(0, 2);
        deepEqual([...first], ending === "nii" ? [0x5c, 0x01] : [0x1f, 0x8b]);
      }
    }
    deepEqual([...Deno.readDirSync(directory)].filter((e) => e.name.endsWith(".tmp")), []);
  });
});

/** The header as it is after rounding to the float32 fields of NIfTI-1. */
function floats<T>(value: T): T {
  return JSON.parse(JSON.stringify(value), (_, x) => typeof x === "number" ? Math.fround(x) : x);
}

Deno.test("writeNifti() refuses labels or names when they do not fit", async () => {
  await withFolder(async (directory) => {
    await Deno.writeFile(`${directory}/image.nii`, niftiFile(COUNT));
    const { header } = await readNifti(`${directory}/image.nii`);
    const write = (name: string, n: number) =>
      writeNifti(`${directory}/${name}`, new Uint8Array(n), header);
    await rejects(() => write("a.nii", 23), /23 labels do not fill 2 x 3 x 4 voxels/);
    await rejects(() => write("a.mha", 24), /ends in \.nii or \.nii\.gz/);
    await rejects(
      () => write("absent/a.nii", 24),
      /Cannot write .*absent\/a\.nii: its folder does not exist/,
    );
  });
});

Deno.test("readVolume() says what is wrong when a NIfTI file is damaged", async () => {
  const good = niftiFile(COUNT);
  const zipped = new Uint8Array(gzipSync(good));
  const four = niftiFile(COUNT, { dims: [4, 3, 1, 2] });
  await refuses(four, /4 dimensions .*\[4, 3, 1, 2\]/);
  const first = decodeNifti("four.nii", four, { firstVolume: true });
  deepEqual([first.shape, [...first.image]], [[1, 3, 4], COUNT.slice(0, 12)]);
  await refuses(
    niftiFile(COUNT, { dims: [4, 0, 2] }),
    /damaged NIfTI header: its sizes are \[4, 0, 2\]/,
  );
  await refuses(niftiFile(COUNT, { type: 32 }), /element type 32, which is not supported/);
  await refuses(good.slice(0, 400), /cut short: it has 400 bytes but its header asks for 448/);
  await refuses(good.slice(0, 100), /not a NIfTI file/);
  await refuses(zipped.slice(0, 60), /damaged gzip file/);
  await refuses(
    zipped.with(zipped.length - 6, zipped[zipped.length - 6]! ^ 1),
    /damaged gzip file/,
  );
  await refuses(new Uint8Array(gzipSync(new Uint8Array(1000))), /not a NIfTI file/);
  await refuses(new TextEncoder().encode("hello"), /neither a NIfTI .* nor an HDF5/);
  await refuses(new Uint8Array(0), /neither a NIfTI .* nor an HDF5/);
});

Deno.test("readVolume() tells formats by their content when names mislead", async () => {
  await withFolder(async (directory) => {
    const path = `${directory}/scan.dat`;
    await Deno.writeFile(path, gzipSync(niftiFile(COUNT, { dims: [4, 3, 2, 1] })));
    deepEqual([...(await readVolume(path)).image], COUNT);
    for (const shape of [[4, 6], [2, 3, 4]]) {
      const data = Float32Array.from(COUNT).with(5, NaN);
      await Deno.writeFile(path, await hdf5Bytes({ image: { data, shape } }));
      const volume = await readVolume(path);
      deepEqual(volume.shape, shape.length === 2 ? [1, 4, 6] : shape);
      deepEqual([volume.replaced, volume.image[4], volume.image[5]], [1, 4, 0]);
      equal(volume.header, undefined);
    }
  });
});
