/** Opens the data that are tuned on. */
import { DataError } from "../data/errors.ts";
import { openImageFolder } from "../data/image_folder.ts";
import { openNnunet } from "../data/nnunet.ts";
import type { SegmentedData, SegmentedSequence } from "../data/sequence.ts";
import type { Choices } from "./options.ts";
import { splitSequences } from "./split.ts";

/** Data of a run. */
export interface TuneData {
  readonly training: readonly SegmentedSequence[];
  /** Empty where nothing is validated. */
  readonly validation: readonly SegmentedSequence[];
  readonly labelNames: ReadonlyMap<number, string>;
  /** The fingerprint of the data that are tuned on. */
  readonly hash: string;
}

/**
 * Opens and splits the data that the options name, and reads their files once.
 *
 * @throws {DataError} where they cannot be used.
 */
export async function openTuneData(
  { data, train: { seed }, schedule: { valData } }: Choices,
): Promise<TuneData> {
  const { sequences, labelNames, fingerprint } = await openSequences(data.source);
  const split = await splitSequences(sequences, data.source, data, seed);
  const others = valData === null ? undefined : await openSequences(valData);
  return {
    training: split.training,
    validation: [...split.validation, ...others?.sequences ?? []],
    labelNames: new Map([...others?.labelNames ?? [], ...labelNames]),
    hash: await fingerprint(),
  };
}

/** The data in a folder, whichever of the layouts it has. */
async function openSequences(folder: string): Promise<SegmentedData> {
  const there = (name: string) => Deno.stat(`${folder}/${name}`).then(() => true, () => false);
  if (await there("dataset.json")) return await openNnunet(folder);
  if (await there("images")) return await openImageFolder(folder);
  throw new DataError(
    `${folder} has neither a dataset.json (nnU-Net, Medical Segmentation Decathlon) nor a folder ` +
      `"images" with "masks" beside it.`,
  );
}
