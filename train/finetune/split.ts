/** Which sequences are tuned on, and which are kept for validation. */
import { DataError } from "../data/errors.ts";
import { readBytes } from "../data/files.ts";
import { Random } from "../data/random.ts";
import type { SegmentedSequence } from "../data/sequence.ts";
import type { HoldOut } from "./config.ts";

/** Sequences by their use. */
export interface Split {
  readonly training: readonly SegmentedSequence[];
  readonly validation: readonly SegmentedSequence[];
}

/** The file in which nnU-Net keeps its folds. */
const SPLITS = "splits_final.json";

/**
 * Splits sequences as the options ask for; without a wish all are for training.
 *
 * @param folder of the data.
 * @throws {DataError} where too few are left on a side, or the fold is not there.
 */
export async function splitSequences(
  sequences: readonly SegmentedSequence[],
  folder: string,
  { holdOut, fold }: HoldOut,
  seed: number,
): Promise<Split> {
  if (fold !== null) return await foldOf(sequences, folder, fold);
  if (holdOut === null) return { training: sequences, validation: [] };
  const held = Math.max(1, Math.round(holdOut * sequences.length));
  if (held >= sequences.length) {
    throw new DataError(
      `${folder} has too few sequences (${sequences.length}) to hold a share of ${holdOut} out.`,
    );
  }
  const order = new Random(seed).fork("validation", 0).shuffled([...sequences.keys()]);
  const chosen = new Set(order.slice(0, held));
  return {
    training: sequences.filter((_, i) => !chosen.has(i)),
    validation: sequences.filter((_, i) => chosen.has(i)),
  };
}

async function foldOf(
  sequences: readonly SegmentedSequence[],
  folder: string,
  fold: number,
): Promise<Split> {
  const path = `${folder}/${SPLITS}`;
  const folds = parseFolds(path, new TextDecoder().decode(await readBytes(path)));
  if (fold >= folds.length) {
    throw new DataError(`There is no fold ${fold}: ${path} has folds 0 to ${folds.length - 1}.`);
  }
  const byName = new Map(sequences.map((sequence) => [sequence.name, sequence]));
  const find = (name: string) => {
    const found = byName.get(name);
    if (!found) throw new DataError(`${path} names ${name}, which ${folder} does not have.`);
    return found;
  };
  const { train, val } = folds[fold];
  const [training, validation] = [train.map(find), val.map(find)];
  const both = training.find((sequence) => validation.includes(sequence));
  if (both) throw new DataError(`Fold ${fold} of ${path} has ${both.name} on both sides.`);
  if (training.length === 0 || validation.length === 0) {
    throw new DataError(`Fold ${fold} of ${path} has no cases on one side.`);
  }
  return { training, validation };
}

interface Fold {
  readonly train: readonly string[];
  readonly val: readonly string[];
}

function parseFolds(path: string, text: string): readonly Fold[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new DataError(`${path} is no JSON: ${(error as Error).message}.`);
  }
  const names = (list: unknown) =>
    Array.isArray(list) && list.every((name) => typeof name === "string");
  const isFold = (one: unknown): one is Fold =>
    names((one as Partial<Fold> | null)?.train) && names((one as Partial<Fold>).val);
  if (!Array.isArray(value) || value.length === 0 || !value.every(isFold)) {
    throw new DataError(`${path} is no list of folds with "train" and "val".`);
  }
  return value;
}
