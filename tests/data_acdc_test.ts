import {
  deepStrictEqual as deepEqual,
  match,
  notStrictEqual as notEqual,
  ok,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { openAcdc } from "../train/data/acdc.ts";
import type { DataSet, VolumeSource } from "../train/data/dataset.ts";
import { MINI_SIZE, miniSlice, writeHdf5, writeList, writeMiniAcdc } from "./data_files.ts";

const shared = new URL("../../shared/data/acdc", import.meta.url).pathname;
const present = await Deno.stat(shared).then(() => true, () => false);
if (!present) console.log(`The tests on real ACDC data are skipped: there is no ${shared}.`);

const ids = (sources: readonly VolumeSource[]) => sources.map((s) => s.id);

async function mini(test: (directory: string) => Promise<void>): Promise<void> {
  const directory = await writeMiniAcdc();
  try {
    await test(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The rejection is a DataError of one sentence that names what `pattern` asks for. */
async function refuses(action: () => Promise<unknown>, pattern: RegExp): Promise<void> {
  await rejects(action, (error: Error) => {
    equal(error.name, "DataError");
    match(error.message, pattern);
    match(error.message, /^[^\n]*\.$/);
    return true;
  });
}

Deno.test("openAcdc() splits whole patients in list order when labeled is given", async () => {
  await mini(async (directory) => {
    const data = await openAcdc(directory, { labeled: 1 });
    deepEqual(ids(data.labelled), ["patient003_frame01", "patient003_frame02"]);
    deepEqual(
      ids(data.unlabelled),
      ["patient001_frame01", "patient001_frame02", "patient002_frame01", "patient002_frame02"],
    );
    deepEqual(ids(data.validation), ["patient004_frame01"]);
    deepEqual(ids(data.test), ["patient005_frame01"]);
    deepEqual(data.classes, ["RV", "Myo", "LV"]);
    equal(data.labelled[0]!.slices, 11);
    equal((await openAcdc(directory)).unlabelled.length, 0);
  });
});

Deno.test("load() stacks slices by their number when the list is in another order", async () => {
  await mini(async (directory) => {
    const data = await openAcdc(directory, { labeled: 2 });
    const volume = await data.labelled[2]!.load();
    deepEqual(volume.shape, [11, ...MINI_SIZE]);
    equal(volume.spacing, undefined);
    const size = MINI_SIZE[0] * MINI_SIZE[1];
    for (let k = 1; k <= 11; k++) {
      const expected = miniSlice(3, k);
      deepEqual(volume.image.slice((k - 1) * size, k * size), expected.image);
      deepEqual(volume.label.slice((k - 1) * size, k * size), expected.label);
    }
    const whole = await data.test[0]!.load();
    deepEqual(whole.shape, [3, ...MINI_SIZE]);
    deepEqual(whole.label.slice(size, 2 * size), miniSlice(11, 1).label);
  });
});

Deno.test("load() reads no label when the patient is unlabelled", async () => {
  await mini(async (directory) => {
    // A file without any label would be refused if the label were asked for.
    const { image } = miniSlice(3, 1);
    await writeHdf5(`${directory}/data/slices/patient001_frame01_slice_1.h5`, {
      image: { data: image, shape: [...MINI_SIZE] },
    });
    const data = await openAcdc(directory, { labeled: 1 });
    const volume = await data.unlabelled[0]!.load();
    ok(!("label" in volume));
    const labelled = await openAcdc(directory, { labeled: 2 });
    await refuses(() => labelled.labelled[2]!.load(), /slice_1\.h5 has no dataset "label"/);
  });
});

Deno.test("openAcdc() refuses labeled when it is no whole number of patients", async () => {
  await mini(async (directory) => {
    for (const labeled of [-1, 0, 1.5, 4, NaN]) {
      await refuses(() => openAcdc(directory, { labeled }), new RegExp(`1 to 3 .*not ${labeled}`));
    }
  });
});

Deno.test("openAcdc() names what is missing when the folder is incomplete", async () => {
  await refuses(() => openAcdc("/nowhere/acdc"), /folder \/nowhere\/acdc: it does not exist/);
  await mini(async (directory) => {
    await refuses(() => openAcdc(`${directory}/val.list`), /val\.list is not a folder/);
    await Deno.remove(`${directory}/data/slices/patient002_frame02_slice_7.h5`);
    await refuses(
      () => openAcdc(directory),
      /train_slices\.list names patient002_frame02_slice_7, but .*slice_7\.h5 does not exist/,
    );
    await Deno.remove(`${directory}/data/slices`, { recursive: true });
    await refuses(() => openAcdc(directory), /data\/slices: it does not exist/);
    await Deno.remove(`${directory}/test.list`);
    await refuses(() => openAcdc(directory), /Cannot read .*test\.list: it does not exist/);
  });
});

Deno.test("openAcdc() refuses lists when they contradict each other", async () => {
  await mini(async (directory) => {
    const path = `${directory}/train_slices.list`;
    const names = (await Deno.readTextFile(path)).trim().split("\n");
    const tryList = async (list: string[], pattern: RegExp) => {
      await writeList(path, list);
      await refuses(() => openAcdc(directory), pattern);
    };
    await tryList([...names, names[0]!], /lists patient003_frame01_slice_11 twice/);
    await tryList(names.toSpliced(4, 1), /slices 6 and 8 of patient003_frame01 but not slice 7/);
    await tryList(names.slice(11), /train\.list names patient003_frame01, of which/);
    await tryList(["../secret"], /no volume name/);
    await tryList(["patient003_frame01"], /not named VOLUME_slice_NUMBER/);
    await tryList([], /train_slices\.list is empty/);
    await writeList(path, names);
    await writeList(`${directory}/val.list`, ["patient001_frame01"]);
    await refuses(() => openAcdc(directory), /train_slices\.list and val\.list .* patient001/);
  });
});

Deno.test("load() names file and reason when a file is damaged", async () => {
  await mini(async (directory) => {
    const data = await openAcdc(directory, { labeled: 1 });
    const path = `${directory}/data/patient004_frame01.h5`;
    const load = () => data.validation[0]!.load();
    const good = await Deno.readFile(path);
    const { image, label } = miniSlice(1, 1);
    const shape = [1, ...MINI_SIZE];
    const entry = { data: image, shape };
    const tryEntries = async (entries: Parameters<typeof writeHdf5>[1], pattern: RegExp) => {
      await writeHdf5(path, entries);
      await refuses(load, pattern);
    };
    await tryEntries({ mask: entry }, /patient004_frame01\.h5 has no dataset "image"; .*"mask"/);
    await tryEntries(
      { image: entry, label: { data: label.subarray(0, 8), shape: [1, 2, 4] } },
      /label .*\[1, 2, 4\] but the image has \[1, 5, 4\]/,
    );
    await tryEntries(
      { image: entry, label: { data: label.map((v) => v + 1), shape } },
      /value 4, but labels go from 0 to 3/,
    );
    const fraction = Float32Array.from(label, (v) => v / 2);
    await tryEntries(
      { image: entry, label: { data: fraction, shape } },
      /value \d\.5, which is no whole number/,
    );
    await tryEntries({
      image: { data: image, shape: [...MINI_SIZE] },
      label: { data: label, shape },
    }, /shape \[5, 4\], not 3 dimensions/);
    const hole = Float32Array.from(image);
    hole[7] = NaN;
    await tryEntries(
      { image: { data: hole, shape }, label: { data: label, shape } },
      /value NaN at element 7/,
    );
    for (const bytes of [new Uint8Array(0), new Uint8Array(2000).map((_, i) => i * 37)]) {
      await Deno.writeFile(path, bytes);
      await refuses(load, /patient004_frame01\.h5 is not an HDF5 file/);
    }
    for (const share of [0.1, 0.5, 0.95]) {
      await Deno.writeFile(path, good.slice(0, Math.floor(good.length * share)));
      await refuses(load, /damaged HDF5 file: truncated file/);
    }
    await Deno.remove(path);
    await refuses(load, /Cannot read .*patient004_frame01\.h5: it does not exist/);
  });
});

Deno.test("load() refuses a training volume when its slices differ in size", async () => {
  await mini(async (directory) => {
    await writeHdf5(`${directory}/data/slices/patient003_frame01_slice_3.h5`, {
      image: { data: new Float32Array(6), shape: [2, 3] },
      label: { data: new Uint8Array(6), shape: [2, 3] },
    });
    const data = await openAcdc(directory, { labeled: 1 });
    await refuses(
      () => data.labelled[0]!.load(),
      /slice_3\.h5 has the shape \[2, 3\], but .*\[5, 4\]/,
    );
  });
});

Deno.test("fingerprint() changes with the contents but not with the split", async () => {
  await mini(async (directory) => {
    const first = await (await openAcdc(directory, { labeled: 1 })).fingerprint();
    equal(await (await openAcdc(directory, { labeled: 2 })).fingerprint(), first);
    match(first, /^[0-9a-f]{64}$/);
    await writeHdf5(`${directory}/data/slices/patient003_frame01_slice_3.h5`, {
      image: { data: new Float32Array(20), shape: [5, 4] },
    });
    notEqual(await (await openAcdc(directory)).fingerprint(), first);
  });
});

Deno.test({
  name: "openAcdc() gives the protocol's slice counts when real data are opened",
  ignore: !present,
  fn: async () => {
    const slices = (data: DataSet) => data.labelled.reduce((sum, s) => sum + s.slices!, 0);
    for (const [labeled, expected] of [[1, 32], [3, 68], [7, 136], [35, 664]] as const) {
      equal(slices(await openAcdc(shared, { labeled })), expected);
    }
    const data = await openAcdc(shared, { labeled: 3 });
    deepEqual([...new Set(data.labelled.map((s) => s.patient))], [
      "patient099",
      "patient038",
      "patient050",
    ]);
    equal(data.validation.length, 20);
    equal(data.test.length, 40);
    await refuses(() => openAcdc(shared, { labeled: 36 }), /from 1 to 35 .*not 36/);
  },
});

Deno.test({
  name: "load() reads real volumes with shuffled gzip chunks",
  ignore: !present,
  fn: async () => {
    const data = await openAcdc(shared, { labeled: 1 });
    for (const source of [data.labelled[1]!, data.validation[3]!, data.test[17]!]) {
      const { image, label, shape } = await source.load();
      equal(image.length, shape[0] * shape[1] * shape[2]);
      equal(label.length, image.length);
      equal(Math.min(...image.subarray(0, 1000)) >= 0, true);
      equal(image.reduce((a, b) => Math.max(a, b)), 1);
      deepEqual([...new Set(label)].toSorted(), [0, 1, 2, 3]);
    }
    ok(!("label" in await data.unlabelled[0]!.load()));
  },
});

Deno.test({
  name: "load() refuses a real slice when its file was cut",
  ignore: !present,
  fn: async () => {
    await mini(async (directory) => {
      const source = `${shared}/data/slices/patient099_frame01_slice_1.h5`;
      const cut = (await Deno.readFile(source)).slice(0, 20000);
      await Deno.writeFile(`${directory}/data/slices/patient003_frame01_slice_1.h5`, cut);
      const data = await openAcdc(directory, { labeled: 1 });
      await refuses(() => data.labelled[0]!.load(), /slice_1\.h5 is a damaged HDF5 .*truncated/);
    });
  },
});
