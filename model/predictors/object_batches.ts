/** How many objects of a frame are computed as one batch. */
import { runtime } from "../../engine/mod.ts";
import type { Sam2Config } from "../config.ts";

/** Bytes of the largest tensor on the way, for one object with all of its memories. */
export function largestBytes(config: Sam2Config): number {
  const { imageSize, dModel, memDim, numMaskmem, maxObjPtrsInEncoder, memoryAttention } = config;
  const places = (imageSize / 16) ** 2;
  const keys = numMaskmem * places + maxObjPtrsInEncoder * dModel / memDim;
  return 4 * Math.max(keys * dModel, places * memoryAttention.dimFeedforward);
}

/**
 * Cuts a list of objects into batches: as few and as even as have no tensor beyond what the adapter
 * binds at once. Larger ones would take several windows, through which kernels are slower and which
 * are limited in number; and intermediates of one batch take less memory than those of all objects.
 */
export async function inBatches<T>(objects: readonly T[], config: Sam2Config): Promise<T[][]> {
  const { maxBindingBytes } = (await runtime()).device.profile;
  const most = Math.max(1, Math.floor(maxBindingBytes / largestBytes(config)));
  const count = Math.ceil(objects.length / most);
  const start = (batch: number) => Math.ceil(batch * objects.length / count);
  return Array.from({ length: count }, (_, i) => objects.slice(start(i), start(i + 1)));
}
