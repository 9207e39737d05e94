/** Connected components of all windows of all classes on the GPU, for PCSW. */
import type { AdapterProfile } from "../../engine/device.ts";
import { activeProfile, runtime } from "../../engine/evaluate.ts";
import { MemoryError, sizeText } from "../../engine/memory.ts";
import {
  type BufferWindow,
  RecordedPass,
  submitCommands,
} from "../../engine/optim/recorded_pass.ts";
import type { Runtime } from "../../engine/runtime.ts";
import { lowerComponents } from "../../shaders/components.ts";
import type { LabelVoxels } from "./pcsw/labelling.ts";
import type { VolumeShape } from "./pcsw/volume.ts";
import type { Window } from "./pcsw/windows.ts";

/** A window of the masks of one class. */
interface Entry extends Window {
  readonly volume: number;
}

/** Windows that one set of dispatches labels, each at the length of the longest. */
interface Batch {
  readonly entries: readonly Entry[];
  readonly maxLength: number;
}

/** Options of {@link gpuLabelling}. */
export interface GpuLabellingOptions {
  /** Bytes of labels that one set of dispatches writes, at most; the adapter's binding limit bounds it. */
  readonly batchBytes?: number;
}

/** Packs windows, in order, into batches whose labels take at most `batchBytes`. */
function packBatches(entries: readonly Entry[], sliceBytes: number, batchBytes: number): Batch[] {
  const batches: { entries: Entry[]; maxLength: number }[] = [];
  for (const entry of entries) {
    const last = batches.at(-1);
    const maxLength = Math.max(last?.maxLength ?? 0, entry.length);
    if (last && (last.entries.length + 1) * maxLength * sliceBytes <= batchBytes) {
      last.entries.push(entry);
      last.maxLength = maxLength;
    } else {
      batches.push({ entries: [entry], maxLength: entry.length });
    }
  }
  return batches;
}

const bytesOf = ({ entries, maxLength }: Batch, sliceBytes: number) =>
  entries.length * maxLength * sliceBytes;

/** @throws {MemoryError} where masks or labels exceed what the adapter binds or its buffers hold. */
function checkSizes(
  rt: Runtime,
  maskBytes: number,
  batches: readonly Batch[],
  sliceBytes: number,
): void {
  const { maxBindingBytes } = rt.device.profile;
  const largest = Math.max(maskBytes, ...batches.map((batch) => bytesOf(batch, sliceBytes)));
  if (largest > maxBindingBytes) {
    throw new MemoryError(
      `Labelling the components of masks needs ${sizeText(largest)} at once; this adapter binds ` +
        `at most ${sizeText(maxBindingBytes)}.`,
      largest,
      maxBindingBytes,
    );
  }
  const total = batches.reduce((sum, batch) => sum + bytesOf(batch, sliceBytes), 0);
  const { maxBufferSize } = rt.device.gpu.limits;
  if (total > maxBufferSize) {
    throw new MemoryError(
      `The components of all windows of masks need a buffer of ${
        sizeText(total)
      }; this adapter's ` +
        `buffers hold at most ${sizeText(maxBufferSize)}.`,
      total,
      maxBufferSize,
    );
  }
}

/** A buffer with the given values. */
function upload(rt: Runtime, data: Uint32Array<ArrayBuffer>): BufferWindow {
  const buffer = rt.createBuffer(data.byteLength);
  rt.writeBuffer(buffer, 0, data);
  return { buffer, offset: 0, bytes: buffer.size };
}

/** Runs all batches in one submission and reads their labels back at once. */
async function labelBatches(
  rt: Runtime,
  masks: readonly Uint8Array[],
  [depth, height, width]: VolumeShape,
  batches: readonly Batch[],
  connectivity: 6 | 26,
): Promise<Uint32Array<ArrayBuffer>[]> {
  const profile = await activeProfile();
  const sliceBytes = height * width * 4;
  const volume = depth * height * width;
  const values = new Uint32Array(masks.length * volume);
  masks.forEach((mask, i) => values.set(mask, i * volume));
  const mask = upload(rt, values);
  const owned = [mask.buffer];
  const pass = new RecordedPass(rt);
  const outputs = batches.map((batch) => {
    const { entries, maxLength } = batch;
    const table = entries.flatMap((e) => [e.volume, e.start, e.length]);
    const windows = upload(rt, Uint32Array.from(table));
    const buffer = rt.createBuffer(bytesOf(batch, sliceBytes));
    const labels = { buffer, offset: 0, bytes: buffer.size };
    owned.push(windows.buffer, buffer);
    const shape = { windows: entries.length, maxLength, depth, height, width, connectivity };
    pass.add(lowerComponents(shape, profile), { in0: mask, in1: windows, out0: labels });
    return buffer;
  });
  const total = batches.reduce((sum, batch) => sum + bytesOf(batch, sliceBytes), 0);
  const staging = rt.takeStaging(total);
  submitCommands(rt, (encoder) => {
    pass.encode(encoder);
    let at = 0;
    for (const [i, batch] of batches.entries()) {
      const bytes = bytesOf(batch, sliceBytes);
      encoder.copyBufferToBuffer(outputs[i], 0, staging, at, bytes);
      at += bytes;
    }
  });
  await staging.mapAsync(GPUMapMode.READ, 0, total);
  const all = new Uint32Array(staging.getMappedRange(0, total).slice(0));
  staging.unmap();
  rt.releaseStaging(staging);
  pass.destroy();
  for (const buffer of owned) rt.destroyBuffer(buffer);
  let at = 0;
  return batches.map((batch) => {
    const length = bytesOf(batch, sliceBytes) / 4;
    return all.subarray(at, at += length);
  });
}

/**
 * A labelling for PCSW that runs on the GPU: all windows of all classes in one submission with one
 * readback. A label is 1 + the smallest index in the window of a voxel of the component.
 *
 * The returned strategy throws a {@link MemoryError} where masks or labels exceed what the adapter can
 * hold.
 */
export function gpuLabelling({ batchBytes = Infinity }: GpuLabellingOptions = {}): LabelVoxels {
  return async (masks, shape, windows, connectivity) => {
    if (masks.length * windows.length === 0) {
      throw new RangeError(
        `Labelling needs masks and windows; there are ${masks.length} and ${windows.length}.`,
      );
    }
    const rt = await runtime();
    const plane = shape[1] * shape[2];
    const entries = masks.flatMap((_, volume) => windows.map((w) => ({ ...w, volume })));
    const most = Math.min(batchBytes, rt.device.profile.maxBindingBytes);
    const batches = packBatches(entries, plane * 4, most);
    checkSizes(rt, masks.length * shape[0] * plane * 4, batches, plane * 4);
    const labels = await labelBatches(rt, masks, shape, batches, connectivity);
    const found = batches.flatMap(({ entries, maxLength }, b) =>
      entries.map(({ length }, i) => {
        const start = i * maxLength * plane;
        return labels[b].subarray(start, start + length * plane);
      })
    );
    return (classIndex, window) => found[classIndex * windows.length + window];
  };
}

/**
 * The labelling that suits an adapter: {@link gpuLabelling}, but on software adapters `undefined`, which
 * leaves it to the host. They would label every voxel of every window anew, for 7 % of the time of a
 * training step, where the host follows the pieces that it has cut out already.
 */
export function labellingFor(
  { software }: Pick<AdapterProfile, "software">,
): LabelVoxels | undefined {
  return software ? undefined : gpuLabelling();
}
