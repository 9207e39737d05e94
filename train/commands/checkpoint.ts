/** `deno task checkpoint`: shows what a checkpoint holds, or converts it to another format. */
import { crc32 } from "node:zlib";
import {
  type CheckpointFile,
  type CheckpointTensor,
  openCheckpoint,
  writeCheckpoint,
} from "../../engine/checkpoint/mod.ts";
import { shortened, UserError } from "../../engine/errors.ts";
import { compareStateDict, describeDifference } from "../../engine/nn/state_dict.ts";
import { numel, show } from "../../engine/shape.ts";
import { configOf } from "../../model/checkpoint_config.ts";
import { CONFIGS } from "../../model/config.ts";
import { Sam2 } from "../../model/sam2/sam2.ts";
import {
  publishedWeights,
  runCommandOf,
  trainedSize,
  weightsMetadata,
} from "../run/published_weights.ts";
import { cli, parseOptions } from "./cli.ts";

/** Files are read and written; nothing is computed on the adapter. */
export const needsAdapter = false;

const FORMATS = {
  "torch-zip": "PyTorch (zip)",
  "torch-legacy": "PyTorch (before 1.6)",
  safetensors: "safetensors",
};

type Subcommand = (args: string[]) => Promise<number>;

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = { inspect, convert };

/** Runs the command. */
export async function run(args: string[]): Promise<number> {
  const [name = "", ...rest] = args;
  if (Object.hasOwn(SUBCOMMANDS, name)) return await SUBCOMMANDS[name](rest);
  const program = cli("checkpoint", "Shows what a checkpoint holds, or converts it.")
    .helpCommand(false);
  program.command("inspect <file>").description("show format, configuration and tensors");
  program.command("convert <in> <out>").description("write it as .safetensors, .pt or .pth");
  if (name === "--help" || name === "-h") {
    program.outputHelp();
    return 0;
  }
  throw new UserError(
    `checkpoint needs "inspect FILE" or "convert IN OUT"${name && `, not "${name}"`}; ` +
      "`deno task checkpoint --help` explains them.",
  );
}

async function inspect(args: string[]): Promise<number> {
  const program = cli(
    "checkpoint inspect",
    "Shows format, configuration and tensors of a checkpoint, and checks that it can be read.",
  )
    .argument("<file>", ".pt, .pth or .safetensors file, by its content")
    .option("--json", "print {format, config, tensors: {NAME: {shape, dtype, crc32}}}");
  const options = parseOptions<{ json?: boolean }>(program, args);
  if (options === undefined) return 0;
  using file = await openCheckpoint(program.args[0]);
  const rows: [string, TensorRow][] = [];
  // One after the other, so that one is in memory at a time.
  for (const [name, tensor] of file.tensors) rows.push([name, await describeTensor(tensor)]);
  if (options.json) {
    const config = configOf(publishedWeights(file)) ?? null;
    const tensors = Object.fromEntries(rows);
    console.log(JSON.stringify({ format: file.format, config, tensors }, null, 1));
  } else console.log(report(file, rows));
  return 0;
}

interface TensorRow {
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Of the contiguous little-endian values. */
  readonly crc32: number;
}

async function describeTensor(tensor: CheckpointTensor): Promise<TensorRow> {
  const { shape, dtype } = tensor;
  return { shape, dtype, crc32: crc32(await tensor.read()) };
}

function report(file: CheckpointFile, rows: readonly (readonly [string, TensorRow])[]): string {
  const values = rows.reduce((sum, [, { shape }]) => sum + numel(shape), 0);
  // On one line each, whatever a file calls its tensors.
  const names = rows.map(([name]) => shortened(name, LONGEST_NAME));
  const width = Math.max(...names.map(({ length }) => length));
  const columns = Math.max(...rows.map(([, { shape }]) => show(shape).length));
  return [
    `${file.name}: ${FORMATS[file.format]}, ${rows.length} tensors, ` +
    `${values.toLocaleString("en")} values`,
    `configuration: ${describeConfig(file)}`,
    ...(file.others.length > 0 ? [`left out: ${file.others.join(", ")}`] : []),
    ...rows.map(([, { shape, dtype, crc32 }], i) => {
      const sum = crc32.toString(16).padStart(8, "0");
      return `  ${names[i].padEnd(width)}  ${show(shape).padEnd(columns)}  ${
        dtype.padEnd(8)
      }  crc32 ${sum}`;
    }),
  ].join("\n");
}

/** Characters of a tensor's name that are printed. */
const LONGEST_NAME = 200;

/** Which weights of a run are meant. */
const WHOSE = {
  none: "",
  train: " (averaged weights of a run)",
  finetune: " (weights of a fine-tuning run)",
};

function describeConfig(file: CheckpointFile): string {
  const tensors = publishedWeights(file);
  const name = configOf(tensors);
  if (!name) return "none of the built-in ones";
  const difference = describeDifference(compareStateDict(new Sam2(CONFIGS[name]), tensors));
  const whose = WHOSE[runCommandOf(file) ?? "none"];
  return `${name}${whose}, ${difference || "all keys and shapes fit"}`;
}

async function convert(args: string[]): Promise<number> {
  const program = cli(
    "checkpoint convert",
    "Writes a checkpoint in the format that OUT's extension names; of a run, the averaged weights.",
  )
    .argument("<in>", ".pt, .pth or .safetensors file, by its content")
    .argument("<out>", ".safetensors file, or .pt or .pth for PyTorch");
  const options = parseOptions(program, args);
  if (options === undefined) return 0;
  const [input, output] = program.args;
  using file = await openCheckpoint(input);
  const tensors = publishedWeights(file);
  const size = trainedSize(file);
  const metadata = runCommandOf(file) ? weightsMetadata(size!) : file.metadata;
  await writeCheckpoint(output, tensors, metadata);
  console.log(`Wrote ${tensors.size} tensors to ${output}.`);
  return 0;
}
