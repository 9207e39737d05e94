/** Tiles that `deno task bench tune` found to be the fastest on this machine's adapters. */
import { dirname, join } from "node:path";
import { writeFileAtomically } from "./atomic_file.ts";
import type { TileChoices } from "./device.ts";
import { mayRead, variable } from "./environment.ts";
import { isUserError, quoted, UserError } from "./errors.ts";

/** Names of tiles by shape class. */
export type Tiles = Readonly<Record<string, string>>;

const VERSION = 1;

/** The form of the file. */
interface TileFile {
  readonly version: typeof VERSION;
  readonly adapters: Readonly<Record<string, Tiles>>;
}

const EMPTY: TileFile = { version: VERSION, adapters: {} };

/** Where tuned tiles are kept: in the user's folder for caches. `undefined` where there is none. */
export function tileCachePath(): string | undefined {
  const [cache, local, home] = ["XDG_CACHE_HOME", "LOCALAPPDATA", "HOME"].map(variable);
  const folder = cache || local || (home && join(home, ".cache"));
  return folder ? join(folder, "sam2-sss", "tiles.json") : undefined;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function isTileFile(value: unknown): value is TileFile {
  return isRecord(value) && value.version === VERSION && isRecord(value.adapters) &&
    Object.values(value.adapters).every((tiles) =>
      isRecord(tiles) && Object.values(tiles).every((tile) => typeof tile === "string")
    );
}

/** The text of a file, or `undefined` where there is none, or none that this process may read. */
async function textOf(path: string): Promise<string | undefined> {
  if (!mayRead(path)) return undefined;
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

async function readTileFile(path: string): Promise<TileFile> {
  const fail = (reason: string, cause?: unknown) =>
    new UserError(
      `The tuned tiles in ${path} are not used: ${reason}; \`deno task bench tune --write\` makes ` +
        "them anew.",
      { cause },
    );
  let value: unknown;
  try {
    const text = await textOf(path);
    if (text === undefined) return EMPTY;
    value = JSON.parse(text);
  } catch (error) {
    throw fail(error instanceof SyntaxError ? "it is not JSON" : "it cannot be read", error);
  }
  if (!isTileFile(value)) throw fail(`it is no table of tiles of version ${VERSION}`);
  return value;
}

/** Sentences that were printed: devices may be opened many times. */
const told = new Set<string>();

/**
 * The tiles that were tuned on an adapter: `undefined` where there are none, or where `SSS_TUNING` is
 * `off`. A file that is damaged is ignored, with a sentence on standard error.
 *
 * @throws {UserError} where `SSS_TUNING` is something else.
 */
export async function tunedTiles(adapter: string): Promise<TileChoices | undefined> {
  const setting = variable("SSS_TUNING") || "on";
  if (setting !== "on" && setting !== "off") {
    throw new UserError(`SSS_TUNING is ${quoted(setting)}; it may be on or off.`);
  }
  const path = tileCachePath();
  if (setting === "off" || !path) return undefined;
  try {
    const tiles = (await readTileFile(path)).adapters[adapter];
    return tiles && { tileOf: (shapeClass) => tiles[shapeClass] };
  } catch (error) {
    if (!isUserError(error)) throw error;
    if (!told.has(error.message)) console.error(error.message);
    told.add(error.message);
    return undefined;
  }
}

/**
 * Adds tiles to those that were tuned on an adapter; a damaged file is replaced.
 *
 * @returns the file.
 * @throws {UserError} where it cannot be written.
 */
export async function saveTiles(adapter: string, tiles: Tiles): Promise<string> {
  const path = tileCachePath();
  if (!path) {
    throw new UserError("There is no folder for caches: neither XDG_CACHE_HOME nor HOME is set.");
  }
  const { adapters } = await readTileFile(path).catch((error) => {
    if (isUserError(error)) return EMPTY;
    throw error;
  });
  const all = { ...adapters, [adapter]: { ...adapters[adapter], ...tiles } };
  // What keeps the folder from being made keeps the file from being written, which names the reason.
  await Deno.mkdir(dirname(path), { recursive: true }).catch(() => {});
  const text = JSON.stringify({ version: VERSION, adapters: all }, null, 1);
  await writeFileAtomically(path, [new TextEncoder().encode(`${text}\n`)]);
  return path;
}
