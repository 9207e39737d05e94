/** Runs the commands that take a SAM-2 checkpoint in this process, on small models and pictures. */
import { decode } from "fast-png";
import type { BinaryMask } from "../model/predictors/video_options.ts";
import type { Terminal } from "../train/run/progress.ts";
import { parseSegmentFlags } from "../train/run/segment_options.ts";
import { runSegmentation } from "../train/run/segment_run.ts";
import { parseTrackFlags } from "../train/run/track_options.ts";
import { runTracking } from "../train/run/track_run.ts";
import { writePng } from "../train/images/picture.ts";
import { picture } from "./predictor_model.ts";
import { quietly } from "./run_commands.ts";

/** Options of a model that is soon made. */
export const RANDOM = ["--random-weights", "3", "--size", "64"];

/** What a run gives: its exit code, its output, and what it says meanwhile. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly said: string;
}

async function ran(work: (terminal: Terminal) => Promise<number>): Promise<Ran> {
  const { progress: said, ...rest } = await quietly(work);
  return { ...rest, said };
}

export const segmentWith = (args: readonly string[]) =>
  ran(async (terminal) => await runSegmentation(parseSegmentFlags(args)!, terminal));

export const trackWith = (args: readonly string[]) =>
  ran(async (terminal) => await runTracking(parseTrackFlags(args)!, terminal));

/** The sentence with which a run fails; empty where it does not. */
export const failure = (run: Promise<Ran>): Promise<string> => run.then(() => "", (e) => e.message);

/** Writes a small picture, and gives its path. */
export async function writePicture(path: string, seed = 0, width = 24, height = 20) {
  const { data } = picture(seed, width, height);
  await writePng(path, { data: Uint8Array.from(data), width, height });
  return path;
}

/** A mask that a command wrote. */
export async function writtenMask(path: string): Promise<BinaryMask> {
  const { data, width, height, channels } = decode(await Deno.readFile(path));
  if (channels !== 1 || data.some((value) => value !== 0 && value !== 255)) {
    throw new Error(`${path} is no mask of black and white.`);
  }
  return { data: Uint8Array.from(data, (value) => value / 255), width, height };
}

/** All files of a folder by their relative paths, in order. */
export async function filesOf(folder: string, prefix = ""): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${folder}/${prefix}`)) {
    if (isDirectory) files.push(...await filesOf(folder, `${prefix}${name}/`));
    else files.push(prefix + name);
  }
  return files.sort();
}
