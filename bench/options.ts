/** The command line of `deno task bench`: each part with its options. */
import { InvalidArgumentError } from "commander";
import { UserError } from "../engine/mod.ts";
import { cli, decimal, parseOptions, wholeNumber } from "../train/commands/cli.ts";
import type { Method } from "../train/trainer.ts";
import type { KernelOptions } from "./kernels.ts";
import type { ModelOptions } from "./model.ts";
import { configNamed, CONFIGURATIONS, type PartName, PARTS } from "./parts.ts";
import { PASSES, PEER_PARTS, type PeerPart } from "./peer_models.ts";
import type { PeerOptions } from "./peers.ts";
import type { StepCommandOptions } from "./step_command.ts";
import type { TrackingCommandOptions } from "./tracking_command.ts";
import type { TuneOptions } from "./tune.ts";

/** One part of the benchmark to run. */
export type Job =
  | { readonly group: "kernels"; readonly options: KernelOptions }
  | { readonly group: "model"; readonly options: ModelOptions }
  | { readonly group: "tracking"; readonly options: TrackingCommandOptions }
  | { readonly group: "step"; readonly options: StepCommandOptions }
  | { readonly group: "peers"; readonly options: PeerOptions }
  | { readonly group: "tune"; readonly options: TuneOptions };

/** What the command line asks for. */
export interface Request {
  readonly jobs: readonly Job[];
  /** File that the rows are written to. */
  readonly json: string | undefined;
}

interface Shared {
  readonly json?: string;
  readonly rounds: number;
}

const METHODS: readonly Method[] = ["supervised", "fixmatch", "sss"];

/** Sides of images where none are given. */
const SIZE = { nano: 128, other: 256 };

/** A comma-separated list of some of `known`. */
function listOf<T extends string>(known: readonly T[]) {
  return (text: string): T[] =>
    text.split(",").map((name) => {
      const found = known.find((k) => k === name.trim().replaceAll("_", " ") || k === name.trim());
      if (!found) throw new InvalidArgumentError(`It must be some of ${known.join(", ")}.`);
      return found;
    });
}

function configList(text: string): string[] {
  return text.split(",").map((name) => {
    const found = configNamed(name.trim());
    if (!found) {
      throw new InvalidArgumentError(
        `It must be some of ${Object.keys(CONFIGURATIONS).join(", ")}.`,
      );
    }
    return found;
  });
}

function sizeList(text: string): number[] {
  return text.split(",").map((part) => {
    const size = wholeNumber(32, 4096)(part);
    if (size % 32 !== 0) throw new InvalidArgumentError("It must be multiples of 32.");
    return size;
  });
}

function countList(text: string): number[] {
  return text.split(",").map(wholeNumber(1));
}

/** A command with the options that all parts have. */
const program = (part: string, summary: string, rounds: number) =>
  cli(`bench${part && ` ${part}`}`, summary)
    .option("--rounds <n>", "timed rounds; medians are shown", wholeNumber(1), rounds)
    .option("--json <file>", "also write the figures to a file");

type Parser = (args: readonly string[]) => Request | undefined;

const request = ({ json }: Shared, ...jobs: Job[]): Request => ({ jobs, json });

function kernels(args: readonly string[]): Request | undefined {
  const command = program("kernels", "Times the kernels of SAM-2 T and of SSS training.", 5)
    .option("--only <glob>", "kernels whose name, or name, shape and pass, fit, as in 'conv*'")
    .option("--from <glob>", "kernels of workloads whose names fit, as in 'hiera_t encoder 256*'")
    .option("--top <n>", "as many kernels, the costliest first; 0 for all", wholeNumber(0), 48)
    .option(
      "--longest <ms>",
      "only kernels that the peaks allow to be done in it",
      decimal(0),
      1000,
    );
  const flags = parseOptions<Shared & KernelOptions>(command, args);
  return flags && request(flags, { group: "kernels", options: flags });
}

function model(args: readonly string[]): Request | undefined {
  const command = program("model", "Times the parts of SAM-2, forward and with gradients.", 5)
    .option("--config <names>", "configurations, as in nano,hiera_t", configList)
    .option("--size <pixels>", "sides of the images, as in 256,512", sizeList)
    .option("--part <names>", `some of ${PARTS.join(", ")}`, listOf(PARTS), [...PARTS])
    .option("--batch <n>", "images at once", wholeNumber(1), 1)
    .option("--gradient-checkpointing", "compute values anew for gradients: less memory", false)
    .option(
      "--tracking",
      "instead of parts, an image and its prompts, and frames with objects",
      false,
    )
    .option("--objects <numbers>", "of --tracking: objects at once", countList, [1, 5, 20])
    .option("--cold", "of --tracking: also the first mask of a new process", false);
  const flags = parseOptions<
    Shared & Pick<ModelOptions, "batch" | "gradientCheckpointing"> & {
      config?: string[];
      size?: number[];
      part: PartName[];
      tracking: boolean;
      objects: number[];
      cold: boolean;
    }
  >(command, args);
  if (!flags) return undefined;
  const { config = ["nano", "sam2.1_hiera_t"], size, part: parts, batch, rounds } = flags;
  const { gradientCheckpointing, tracking, objects, cold } = flags;
  const models = config.map((name) => ({
    config: name,
    sizes: size ?? [name === "nano" ? SIZE.nano : SIZE.other],
  }));
  if (tracking) {
    return request(flags, { group: "tracking", options: { models, objects, cold, rounds } });
  }
  return request(flags, {
    group: "model",
    options: { models, parts, batch, rounds, gradientCheckpointing },
  });
}

function step(args: readonly string[]): Request | undefined {
  const command = program("step", "Times training steps and their parts.", 7)
    .option("--method <names>", `some of ${METHODS.join(", ")}`, listOf(METHODS), [
      "supervised",
      "sss",
    ])
    .option("--size <pixels>", "side of the images", (text) => sizeList(text)[0], SIZE.nano)
    .option("--batch <n>", "labelled images", wholeNumber(1), 4)
    .option("--unlabelled-batch <n>", "unlabelled images", wholeNumber(1), 2)
    .option("--cold", "also first steps with an empty and a filled cache of kernels", false);
  const flags = parseOptions<
    Shared & Omit<StepCommandOptions, "methods"> & { method: Method[] }
  >(command, args);
  if (!flags) return undefined;
  const { method: methods, size, batch, unlabelledBatch, rounds, cold } = flags;
  const options = { methods, size, batch, unlabelledBatch, rounds, cold };
  return request(flags, { group: "step", options });
}

function peers(args: readonly string[]): Request | undefined {
  const command = program("peers", "Times the same work in other libraries.", 5)
    .option("--only <glob>", "work whose name, or name and shape, fit")
    .option("--models", "parts of SAM-2 instead of single ops", false)
    .option("--config <names>", "configurations of the models", configList, ["sam2.1_hiera_t"])
    .option("--size <pixels>", "sides of their images", sizeList, [SIZE.other])
    .option("--part <names>", `some of ${PEER_PARTS.join(", ")}`, listOf(PEER_PARTS), [
      ...PEER_PARTS,
    ])
    .option("--pass <names>", `of the models: ${PASSES.join(", ")}`, listOf(PASSES), [...PASSES])
    .option(
      "--without <names>",
      "peers to leave out, separated by commas",
      (text) => text.split(","),
      [],
    );
  const flags = parseOptions<Shared & PeerFlags>(command, args);
  if (!flags) return undefined;
  const { only, models, config: configs, size: sizes, part: parts, pass: passes } = flags;
  const given = { ...only !== undefined && { only }, models, configs, sizes, parts, passes };
  const { without, rounds } = flags;
  return request(flags, { group: "peers", options: { ...given, without, rounds } });
}

interface PeerFlags {
  readonly only?: string;
  readonly models: boolean;
  readonly config: string[];
  readonly size: number[];
  readonly part: PeerPart[];
  readonly pass: (typeof PASSES)[number][];
  readonly without: string[];
}

function tune(args: readonly string[]): Request | undefined {
  const command = program("tune", "Finds the fastest tiles of products and convolutions.", 3)
    .option("--only <glob>", "classes of shapes, ops, or op, shape and pass that fit")
    .option("--from <glob>", "shapes of workloads whose names fit, as in 'hiera_t*256*'", "nano*")
    .option("--top <n>", "as many classes, the costliest first; 0 for all", wholeNumber(0), 24)
    .option("--cpu-time", "compare CPU time, which a busy machine disturbs less", false)
    .option("--write", "keep the winners for later processes on this adapter", false);
  const flags = parseOptions<Shared & TuneOptions>(command, args);
  return flags && request(flags, { group: "tune", options: flags });
}

const PARSERS: Readonly<Record<string, Parser>> = { kernels, model, step, peers, tune };

/** Options of a part that is given none. */
function defaults(parse: Parser, rounds: number | undefined): Job[] {
  const own = rounds === undefined ? [] : ["--rounds", `${rounds}`];
  return [...parse(own)!.jobs];
}

/**
 * Parses the arguments of `deno task bench`.
 *
 * @returns what to run, or `undefined` where `--help` was asked for and printed.
 * @throws {UserError} where an option or a part is unknown or has a wrong value.
 */
export function parseRequest(args: readonly string[]): Request | undefined {
  const parser = PARSERS[args[0]];
  if (parser) return parser(args.slice(1));
  const parts = Object.keys(PARSERS).join(", ");
  const command = cli("bench", `Times the engine. Parts: ${parts}; each has --help of its own.`)
    .argument("[part]", "without it kernels, model and step run with their defaults")
    .option("--rounds <n>", "timed rounds of each part", wholeNumber(1))
    .option("--json <file>", "also write the figures to a file");
  const flags = parseOptions<Partial<Shared>>(command, args);
  if (!flags) return undefined;
  const [unknown] = command.args;
  if (unknown !== undefined) {
    throw new UserError(`There is no benchmark "${unknown}"; the parts are ${parts}.`);
  }
  const jobs = [kernels, model, step].flatMap((parse) => defaults(parse, flags.rounds));
  return { jobs, json: flags.json };
}
