/** The folder of a run. */
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import { UserError } from "../../engine/errors.ts";
import { ioReason } from "../data/errors.ts";
import { type Checkpoint, loadCheckpoint, requireSame } from "./checkpoint.ts";
import type { AnyRunConfig, RunCommand, RunConfig } from "./config.ts";

/** Which checkpoint of a run. */
export type CheckpointName = "last" | "best";

/** Paths of a run's files. */
export class RunDirectory {
  constructor(readonly path: string) {}

  get config(): string {
    return `${this.path}/config.json`;
  }
  get metrics(): string {
    return `${this.path}/metrics.jsonl`;
  }
  /** Path of a checkpoint. */
  checkpoint(name: CheckpointName): string {
    return `${this.path}/${name}.safetensors`;
  }

  /**
   * Makes a folder for a new run: `path`, or `runs/<stem>-<number>` with the first free number.
   *
   * @throws {UserError} where `path` is there already with something in it, or cannot be made.
   */
  static async create(path: string | undefined, stem: string): Promise<RunDirectory> {
    if (path !== undefined) {
      await makeFolder(path);
      const run = new RunDirectory(path);
      if (await exists(run.config)) {
        throw new UserError(
          `${path} holds a run already: continue it with --resume ${path}, or give another --out.`,
        );
      }
      for await (const { name } of Deno.readDir(path)) {
        throw new UserError(`The folder ${path} has ${name} in it; a run needs an empty one.`);
      }
      return run;
    }
    await makeFolder("runs");
    for (let number = 1;; number++) {
      const free = `runs/${stem}-${number}`;
      if (await claimFolder(free)) return new RunDirectory(free);
    }
  }

  /**
   * A run that exists.
   *
   * @throws {UserError} where the folder has no config.json.
   */
  static async open(path: string): Promise<RunDirectory> {
    const run = new RunDirectory(path.replace(/(?<=.)\/+$/, ""));
    if (!await exists(run.config)) {
      throw new UserError(`${path} is no folder of a run: ${run.config} does not exist.`);
    }
    return run;
  }

  /**
   * The configuration.
   *
   * @param command which has made the run.
   * @throws {UserError} where config.json is damaged, or of a run that another command has made.
   */
  async readConfig<Config extends AnyRunConfig = RunConfig>(
    command: RunCommand = "train",
  ): Promise<Config> {
    let config: Partial<Config>;
    try {
      config = JSON.parse(await Deno.readTextFile(this.config));
    } catch (error) {
      throw new UserError(`Cannot read ${this.config}: ${(error as Error).message}.`);
    }
    for (const part of ["data", "train", "schedule"] as const) {
      if (typeof config?.[part] !== "object" || config[part] === null) {
        throw new UserError(`${this.config} is no configuration of a run: it has no "${part}".`);
      }
    }
    const { command: made = "train" } = config;
    if (made !== command) {
      throw new UserError(
        `${this.path} holds a run of \`deno task ${made}\`, not of \`deno task ${command}\`.`,
      );
    }
    return config as Config;
  }

  /** The best checkpoint where the run has validated, else the last. */
  async preferred(): Promise<CheckpointName> {
    return await exists(this.checkpoint("best")) ? "best" : "last";
  }

  /**
   * A checkpoint of a run that was stopped or has ended.
   *
   * @param config what it has to agree with.
   * @throws {UserError} where there is none, it is damaged, or it disagrees.
   */
  async loadCheckpoint<Config extends AnyRunConfig>(
    name: CheckpointName,
    config: Config,
  ): Promise<Checkpoint<Config>> {
    const path = this.checkpoint(name);
    const checkpoint = await loadCheckpoint<Config>(path);
    requireSame(path, checkpoint, config);
    return checkpoint;
  }

  /** Removes what a process that was killed had begun to write. */
  async removeLeftovers(): Promise<void> {
    for await (const { name } of Deno.readDir(this.path)) {
      if (name.endsWith(".tmp")) await Deno.remove(`${this.path}/${name}`);
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

/** Writes a value as JSON, complete or not at all. */
export async function writeJson(path: string, value: unknown): Promise<void> {
  const text = JSON.stringify(value, null, 2) + "\n";
  await writeFileAtomically(path, [new TextEncoder().encode(text)]);
}

/**
 * Makes a folder and those above it; one that is there is used.
 *
 * @throws {UserError} where it cannot be made.
 */
export async function makeFolder(path: string): Promise<void> {
  try {
    await Deno.mkdir(path, { recursive: true });
  } catch (error) {
    throw new UserError(`Cannot make the folder ${path}: ${ioReason(error)}.`);
  }
}

/** Makes a folder that is not there yet; false where it is. */
async function claimFolder(path: string): Promise<boolean> {
  try {
    await Deno.mkdir(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw new UserError(`Cannot make the folder ${path}: ${ioReason(error)}.`);
  }
}
