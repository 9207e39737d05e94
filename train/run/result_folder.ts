/** The folder into which `segment` and `track` write. */
import { encode } from "fast-png";
import { writeFileAtomically } from "../../engine/atomic_file.ts";
import { UserError } from "../../engine/errors.ts";
import { boxOfMask, type BoxXywh, toXywh } from "../../model/predictors/boxes.ts";
import { type CocoRle, encodeCocoRle, maskToRle, rleArea } from "../../model/predictors/rle.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import { makeFolder, writeJson } from "./run_dir.ts";

/** Label volume of a scan. */
export const LABELS = "labels.nii.gz";

/** What is written, relative to the folder; an input may not be among it. */
const RESULTS = /^(masks(\/.*)?|overlay\.(png|gif|mp4)|labels\.nii\.gz|(segment|track)\.json)$/;

/** Files that an earlier run may have listed. */
const REMOVABLE = /^(masks\/[^/]+\/[^/]+|masks\/[^/]+|overlay|labels)\.(png|gif|mp4|nii\.gz)$/;

/** What the JSON file says about a mask, with the names of the official mask generator. */
export interface MaskEntry {
  /** Path of the PNG file, relative to the folder. */
  readonly file: string;
  /** Pixels. */
  readonly area: number;
  /** Left, top, width and height. */
  readonly bbox: BoxXywh;
  /** Run lengths, as COCO's tools read them. */
  readonly segmentation: CocoRle;
}

/** A folder of results. Disposing of one that it made, and in which nothing was written, removes it. */
export class ResultFolder implements AsyncDisposable {
  private readonly folders = new Set<string>();

  private constructor(
    /** Its path. */
    readonly path: string,
    /** Name of the JSON file. */
    private readonly index: string,
    /** Whether there was no such folder before. */
    private readonly made: boolean,
  ) {}

  /**
   * Makes the folder, where there is none.
   *
   * @param command `segment` or `track`, the name of the JSON file.
   * @param input what must not be overwritten.
   * @throws {UserError} where it would be, or the folder cannot be made.
   */
  static async open(path: string, command: string, input: string): Promise<ResultFolder> {
    const made = await Deno.lstat(path).then(() => false, () => true);
    await makeFolder(path);
    const real = async (name: string) => (await Deno.realPath(name)).replaceAll("\\", "/");
    const within = `${await real(path)}/`;
    const source = await real(input);
    if (source.startsWith(within) && RESULTS.test(source.slice(within.length))) {
      throw new UserError(`${input} would be overwritten by results; give another --out.`);
    }
    return new ResultFolder(path, `${command}.json`, made);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A folder with something in it is not removed.
    if (this.made) await Deno.remove(this.path).catch(() => {});
  }

  /** Writes a mask as a PNG file, white on black. */
  async writeMask(file: string, mask: BinaryMask): Promise<MaskEntry> {
    await this.makeFolderOf(file);
    const { width, height, data } = mask;
    const pixels = data.map((value) => value === 0 ? 0 : 255);
    const png = encode({ data: pixels, width, height, channels: 1, depth: 8 });
    await writeFileAtomically(`${this.path}/${file}`, [png]);
    const rle = maskToRle(mask);
    const bbox = toXywh(boxOfMask(mask));
    return { file, area: rleArea(rle), bbox, segmentation: encodeCocoRle(rle) };
  }

  /** Writes the JSON file. */
  async writeIndex(value: unknown): Promise<void> {
    await writeJson(`${this.path}/${this.index}`, value);
  }

  /**
   * Removes the files that an earlier run of the command lists, so that its masks are not taken for those
   * of this one.
   */
  async clear(): Promise<void> {
    const index = `${this.path}/${this.index}`;
    let text: string;
    try {
      text = await Deno.readTextFile(index);
    } catch {
      return;
    }
    const folders = new Set<string>();
    for (const file of listedFiles(text)) {
      if (!REMOVABLE.test(file)) continue;
      await Deno.remove(`${this.path}/${file}`).catch(() => {});
      folders.add(file.slice(0, Math.max(0, file.lastIndexOf("/"))));
    }
    // Folders that have become empty; others stay.
    folders.delete("");
    for (const folder of folders) await Deno.remove(`${this.path}/${folder}`).catch(() => {});
    await Deno.remove(index);
  }

  private async makeFolderOf(file: string): Promise<void> {
    const folder = file.slice(0, file.lastIndexOf("/"));
    if (this.folders.has(folder)) return;
    await makeFolder(`${this.path}/${folder}`);
    this.folders.add(folder);
  }
}

/** The values of all fields `file` of a JSON text; none where it is none. */
function listedFiles(text: string): string[] {
  const files: string[] = [];
  try {
    JSON.parse(text, (key, value) => {
      if (key === "file" && typeof value === "string" && !value.includes("..")) files.push(value);
      return value;
    });
  } catch {
    return [];
  }
  return files;
}

/** A number of things in words, as in "1 mask" or "3 masks". */
export function counted(count: number, thing: string): string {
  return `${count} ${thing}${count === 1 ? "" : "s"}`;
}
