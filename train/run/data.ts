/** Opens the data set that the options name. */
import { UserError } from "../../engine/errors.ts";
import { openAcdc } from "../data/acdc.ts";
import type { DataSet, Spacing, Volume, VolumeSource } from "../data/dataset.ts";
import { createPhantom } from "../data/phantom.ts";
import { type DataIdentity, PHANTOM } from "./config.ts";
import type { Choices } from "./options.ts";
import type { StopRequest } from "./signals.ts";

/**
 * Opens the phantom or a folder. Without a number of labelled patients, a tenth of a folder's (at
 * least one) is labelled. Volumes that have no voxel spacing get that of the options.
 *
 * @throws {UserError} where the folder or a list is wrong, or the number of labelled patients.
 */
export async function openData({ source, labeled, spacing }: Choices["data"]): Promise<DataSet> {
  const data = source === PHANTOM
    ? createPhantom(labeled === null ? {} : { labeled })
    : await openAcdc(source, { labeled: labeled ?? await tenth(source) });
  return spacing ? withSpacing(data, spacing) : data;
}

async function tenth(folder: string): Promise<number> {
  const { labelled } = await openAcdc(folder);
  return Math.max(1, Math.round(patients(labelled) / 10));
}

/** What checkpoints remember of a data set; reads all of it. */
export async function identify(data: DataSet): Promise<DataIdentity & { labeled: number }> {
  const { name, classes, labelled } = data;
  return { name, classes, hash: await data.fingerprint(), labeled: patients(labelled) };
}

/** Number of patients of volumes. */
export function patients(sources: readonly VolumeSource[]): number {
  return new Set(sources.map((source) => source.patient)).size;
}

/**
 * Reads every volume once, so that a damaged file is found before hours of work and not after.
 *
 * @returns false where a stop was requested meanwhile.
 * @throws {UserError} for the first volume that is damaged.
 */
export async function checkVolumes(
  sources: readonly VolumeSource[],
  stop: StopRequest,
  onVolume: (done: number, total: number) => void,
): Promise<boolean> {
  for (const [done, source] of sources.entries()) {
    if (stop.requested) return false;
    onVolume(done, sources.length);
    await source.load();
  }
  return true;
}

/**
 * Checks that a method has the volumes that it learns from.
 *
 * @throws {UserError} where it has not.
 */
export function requireUnlabelled(data: DataSet, method: string): void {
  if (method === "supervised" || data.unlabelled.length > 0) return;
  throw new UserError(
    `Method ${method} needs unlabelled patients, but all ${patients(data.labelled)} training ` +
      `patients are labelled; give a smaller --labeled or --method supervised.`,
  );
}

function withSpacing(data: DataSet, spacing: Spacing): DataSet {
  const add = <V extends Volume>(source: VolumeSource<V>): VolumeSource<V> => ({
    ...source,
    load: async () => ({ spacing, ...await source.load() }),
  });
  return {
    ...data,
    labelled: data.labelled.map(add),
    unlabelled: data.unlabelled.map(add),
    validation: data.validation.map(add),
    test: data.test.map(add),
  };
}
