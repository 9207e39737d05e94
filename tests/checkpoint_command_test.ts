/** `deno task checkpoint`, run in this process. */
import {
  deepStrictEqual as deepEqual,
  match,
  rejects,
  strictEqual as equal,
} from "node:assert/strict";
import { openCheckpoint, writeCheckpoint } from "../engine/checkpoint/mod.ts";
import { writeSafetensors } from "../engine/safetensors.ts";
import { CONFIGS } from "../model/config.ts";
import { SssModel } from "../model/sss/sss_model.ts";
import { run } from "../train/commands/checkpoint.ts";
import { RUN_FORMATS } from "../train/run/checkpoint.ts";
import { floats, Pickle, torchZip } from "./checkpoint_files.ts";
import { sharedPath, sharedTest } from "./shared.ts";
import { withFolder } from "./temporary_folder.ts";

/** The lines that a call prints. */
async function printed(...args: string[]): Promise<string> {
  const log = console.log;
  const lines: string[] = [];
  console.log = (...values) => lines.push(values.join(" "));
  try {
    equal(await run(args), 0);
  } finally {
    console.log = log;
  }
  return lines.join("\n");
}

const example = torchZip(
  new Pickle().dict((p) => {
    p.text("epoch").int(3).text("model").dict((q) => {
      q.text("weight").tensor({ shape: [2, 2] }).text("b").tensor({ shape: [1], count: 4 });
    });
  }).end(),
  { "0": floats(1, 2, 3, 4) },
);

Deno.test("checkpoint inspect prints format, configuration and tensors", () =>
  withFolder(async (folder) => {
    // Whatever the name says.
    const path = `${folder}/model.safetensors`;
    await Deno.writeFile(path, example);
    deepEqual((await printed("inspect", path)).split("\n"), [
      `${path}: PyTorch (zip), 2 tensors, 5 values`,
      "configuration: none of the built-in ones",
      'left out: "epoch"',
      "  weight  [2, 2]  float32   crc32 8ba71454",
      "  b       [1]     float32   crc32 aca16a6a",
    ]);
  }));

Deno.test("checkpoint inspect keeps to one line per tensor, whatever its name", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model.safetensors`;
    await writeSafetensors(path, [
      ["a\n\u001b[31mb", { shape: [1], data: new Float32Array(1) }],
      ["x".repeat(300), { shape: [1], data: new Float32Array(1) }],
    ]);
    const [, , first, second] = (await printed("inspect", path)).split("\n");
    match(first, /^ {2}a \[31mb {196}\[1\]/);
    match(second, /^ {2}x{200}… {2}\[1\]/);
  }));

Deno.test("checkpoint inspect --json prints CRC-32 sums as unsigned numbers", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model`;
    await Deno.writeFile(path, example);
    deepEqual(JSON.parse(await printed("inspect", "--json", path)), {
      format: "torch-zip",
      config: null,
      tensors: {
        weight: { shape: [2, 2], dtype: "float32", crc32: 0x8ba71454 },
        b: { shape: [1], dtype: "float32", crc32: 0xaca16a6a },
      },
    });
  }));

Deno.test("checkpoint convert keeps every value there and back", () =>
  withFolder(async (folder) => {
    const [a, b, c] = ["a.bin", "b.safetensors", "c.pt"].map((name) => `${folder}/${name}`);
    await Deno.writeFile(a, example);
    equal(await printed("convert", a, b), `Wrote 2 tensors to ${b}.`);
    equal(await printed("convert", b, c), `Wrote 2 tensors to ${c}.`);
    const tensors = async (path: string) =>
      JSON.parse(await printed("inspect", path, "--json")).tensors;
    deepEqual(await tensors(b), await tensors(a));
    deepEqual(await tensors(c), await tensors(a));
  }));

Deno.test("checkpoint convert writes over its input when both are one file", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model.pt`;
    await Deno.writeFile(path, example);
    await printed("convert", path, path);
    using file = await openCheckpoint(path);
    deepEqual([...file.tensors.keys()], ["weight", "b"]);
  }));

Deno.test("checkpoint takes the averaged SAM-2 weights under official keys when it is a run's", () =>
  withFolder(async (folder) => {
    const run = `${folder}/last.safetensors`;
    const keys = new SssModel(CONFIGS.nano, 2).namedParameters();
    const tensors = ["model", "ema", "first"].flatMap((group, i) =>
      keys.map(([key, { shape, size }]) =>
        [`${group}.${key}`, { shape, data: new Float32Array(size).fill(i) }] as const
      )
    );
    await writeSafetensors(run, tensors, {
      format: RUN_FORMATS.train,
      run: '{"config": {"train": {"size": 96}}}',
    });
    match(
      await printed("inspect", run),
      /^configuration: nano \(averaged weights of a run\), all keys and shapes fit$/m,
    );
    const out = `${folder}/sam2.pt`;
    await printed("convert", run, out);
    match(await printed("inspect", out), /^configuration: nano, all keys and shapes fit$/m);
    using file = await openCheckpoint(out);
    equal(new Float32Array((await file.tensors.get("no_mem_embed")!.read()).buffer)[0], 1);
    const plain = `${folder}/sam2.safetensors`;
    await printed("convert", run, plain);
    using converted = await openCheckpoint(plain);
    deepEqual(converted.metadata, { image_size: "96" });
  }));

Deno.test("checkpoint inspect says how a checkpoint differs from its configuration", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model.safetensors`;
    const tensors = new SssModel(CONFIGS.nano, 2).namedParameters()
      .filter(([key]) => !key.startsWith("sss.") && key !== "no_obj_ptr")
      .map(([key, { shape, size }]) => {
        const read = () => Promise.resolve(new Uint8Array(4 * size));
        return [key, { dtype: "float32", shape, read }] as const;
      });
    await writeCheckpoint(path, tensors);
    match(await printed("inspect", path), /^configuration: nano, 1 missing \(no_obj_ptr\)$/m);
  }));

Deno.test("checkpoint throws a sentence when its arguments are wrong", async () => {
  const cases: readonly [args: string[], message: RegExp][] = [
    [[], /^checkpoint needs "inspect FILE" or "convert IN OUT"; .*--help` explains them\.$/],
    [["show"], /or "convert IN OUT", not "show"; /],
    [["constructor"], /or "convert IN OUT", not "constructor"; /],
    [["inspect"], /^Missing required argument 'file'; `deno task checkpoint inspect --help`/],
    [["inspect", "a", "b"], /^Too many arguments/],
    [["convert", "a"], /^Missing required argument 'out'/],
    [["inspect", "missing.pt"], /^Cannot read missing\.pt: there is no such file\.$/],
    [["inspect", "missing.pt", "--wrong"], /^Unknown option '--wrong'/],
  ];
  for (const [args, message] of cases) await rejects(run(args), { name: "UserError", message });
});

sharedTest(
  "checkpoint convert leaves no file when the input is damaged",
  () =>
    withFolder(async (folder) => {
      const input = sharedPath("golden/pt/corrupt_crc.pt");
      for (const name of ["out.pt", "out.safetensors"]) {
        await rejects(run(["convert", input, `${folder}/${name}`]), {
          name: "UserError",
          message: /entry "bare_state_dict\/data\/22" is damaged/,
        });
      }
      deepEqual([...Deno.readDirSync(folder)], []);
    }),
);

const LAUNCH = new URL("../train/launch.ts", import.meta.url).pathname;

/** Runs the task in a process of its own, on a machine without any WebGPU adapter. */
async function task(...args: string[]) {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", LAUNCH, "train/commands/checkpoint.ts", ...args],
    env: { VK_DRIVER_FILES: "none", VK_ICD_FILENAMES: "none", NO_COLOR: "1", DEBUG: "" },
  });
  const { code, stdout, stderr } = await command.output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, out, err };
}

Deno.test("checkpoint ends with 1 and one line, or with 0, on a machine without an adapter", () =>
  withFolder(async (folder) => {
    const path = `${folder}/model.pt`;
    await Deno.writeFile(path, example);
    const good = await task("inspect", path, "--json");
    deepEqual([good.code, JSON.parse(good.out).format], [0, "torch-zip"], good.err);
    await Deno.truncate(path, 99);
    const bad = await task("inspect", path);
    deepEqual([bad.code, bad.out], [1, ""]);
    equal(
      bad.err,
      `Cannot read ${path} as a PyTorch checkpoint: it has no directory at its end, so that it is ` +
        "cut off or damaged.\n",
    );
    const traced = await task("inspect", path, "--trace");
    match(traced.err, /UserError: Cannot read .*\n +at /);
  }));
