import { deepStrictEqual as deepEqual, match, strictEqual as equal } from "node:assert/strict";
import { isUserError } from "../engine/errors.ts";
import { inFolder, trainWith } from "./run_commands.ts";
import { writeHdf5 } from "./tiny_acdc.ts";

/** The sentence that arguments, or a data set spoilt by `spoil`, lead to. */
async function complaint(
  args: string[],
  spoil: (data: string) => Promise<unknown> = () => Promise.resolve(),
): Promise<string> {
  let message = "";
  await inFolder(async (folder) => {
    await spoil(`${folder}/data`);
    try {
      const all = args.map((arg) => arg.replace("DIR", folder));
      await trainWith(["--data", `${folder}/data`, "--out", `${folder}/run`, ...all]);
    } catch (error) {
      if (!isUserError(error)) throw error;
      message = error.message.replaceAll(folder, "DIR");
    }
    equal(await Deno.stat(`${folder}/run`).then(() => true, () => false), false);
  });
  return message;
}

Deno.test("parseTrainFlags() throws a sentence when an option is wrong", async () => {
  const cases: [string[], RegExp][] = [
    [["--labeled", "-1"], /--labeled <n>' argument '-1'.*whole number of at least 1/],
    [["--labeled", "0"], /whole number of at least 1/],
    [["--labeled", "4"], /from 1 to 3 .*not 4/],
    [["--labeled", "3"], /sss needs unlabelled patients, but all 3/],
    [["--size", "100"], /--size <px>' argument '100'.*multiple of 32/],
    [["--size", "0"], /--size/],
    [["--size", "-32"], /--size/],
    [["--model", "xl"], /--model.*one of nano, t, s, b\+, l/],
    [["--method", "magic"], /--method.*one of sss, supervised, fixmatch/],
    [["--spacing", "1,1"], /--spacing.*three lengths in mm/],
    [["--spacing", "1,1,0"], /--spacing.*three lengths in mm/],
    [["--lr", "-1"], /--lr/],
    [["--sss", "conf=2"], /conf must be a number from 0 to 1, not 2/],
    [["--sss", "confidence=1"], /field=value with a field of pair, /],
    [["--sss", "gates=mine"], /gates must be acdc, bhsd, null or a list, not mine/],
    [["--stpes", "3"], /Unknown option '--stpes'.*--steps/],
    [["--data", "DIR/none"], /DIR\/none: it does not exist/],
    [["stray"], /oo many arguments/],
    [["--resume", "DIR/x"], /--out cannot go with it/],
  ];
  for (const [args, expected] of cases) match(await complaint(args), expected, args.join(" "));
});

Deno.test("runTraining() throws a sentence when the data are wrong", async () => {
  const slice = "data/slices/patient002_frame01_slice_1.h5";
  const whole = "data/patient005_frame01.h5";
  const image = new Float32Array(32 * 32), label = new Uint8Array(32 * 32);
  const narrow = { image: image.slice(32), label: label.slice(32) };
  const cases: [(data: string) => Promise<unknown>, RegExp][] = [
    [(data) => Deno.remove(`${data}/test.list`), /data\/test\.list: it does not exist/],
    [
      (data) => Deno.remove(`${data}/${slice}`),
      /train_slices.list names patient002_frame01_slice_1/,
    ],
    [(data) => Deno.truncate(`${data}/${slice}`, 1000), /slice_1\.h5.*damaged/],
    [(data) => Deno.writeTextFile(`${data}/${whole}`, "text"), /frame01\.h5 is not an HDF5 file/],
    [
      (data) => writeHdf5(`${data}/${slice}`, { ...narrow, shape: [31, 32] }),
      /slice_1\.h5 has the shape \[31, 32\], but .*slice_0\.h5 of the same volume has \[32, 32\]/,
    ],
    [
      (data) => writeHdf5(`${data}/${whole}`, { image, label: label.fill(9), shape: [1, 32, 32] }),
      /frame01\.h5 has the value 9, but labels go from 0 to 3/,
    ],
  ];
  for (const [spoil, expected] of cases) {
    match(await complaint(["--labeled", "2"], spoil), expected);
  }
});

Deno.test("deno task train prints one sentence and ends with 1 when the input is bad", () =>
  inFolder(async (folder) => {
    await Deno.truncate(`${folder}/data/data/patient005_frame01.h5`, 1000);
    const cases: [string, string[], RegExp][] = [
      ["train", ["--size", "100"], /multiple of 32/],
      [
        "train",
        ["--data", `${folder}/none`],
        /^Cannot open the data folder .*: it does not exist\.$/,
      ],
      ["train", ["--data", `${folder}/data`], /patient005_frame01\.h5 is a damaged HDF5 file/],
      ["eval", [folder], /is no folder of a run/],
      ["predict", [folder, folder, "--out"], /argument missing/],
    ];
    for (const [command, args, expected] of cases) {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "train/launch.ts", `train/commands/${command}.ts`, ...args],
        cwd: new URL("../", import.meta.url),
      }).output();
      const text = new TextDecoder().decode(stderr).trimEnd();
      match(text, expected);
      deepEqual([code, text.split("\n").length, stdout.length], [1, 1, 0], text);
    }
  }));
