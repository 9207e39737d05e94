/** Checks of the memory that a request names, before the adapter is given it. */
import { bytesOf } from "./compile/bindings.ts";
import type { Request } from "./evaluate.ts";
import type { Runtime } from "./runtime.ts";
import { show } from "./shape.ts";
import type { Storage, Tensor } from "./tensor.ts";

/** Checks that values lie, or fit, where they are said to. */
function requireWindow(rt: Runtime, t: Tensor, { buffer, offset }: Storage): void {
  rt.requireLive(buffer);
  const alignment = rt.device.offsetAlignment;
  if (!(offset >= 0) || offset % alignment !== 0) {
    throw new RangeError(
      `A tensor of shape ${show(t.shape)} cannot lie at byte ${offset} of its buffer; ` +
        `offsets are multiples of ${alignment} here.`,
    );
  }
  const bytes = bytesOf(t);
  if (offset + bytes <= buffer.size) return;
  throw new RangeError(
    `A tensor of shape ${show(t.shape)} takes ${bytes} bytes, which do not fit at byte ${offset} ` +
      `of a buffer of ${buffer.size}.`,
  );
}

/** Checks that a leaf that comes from the host has the values of its shape. */
function requireHost({ host, shape, size }: Tensor): void {
  if (host?.length === size) return;
  const found = host ? `${host.length} values` : "no values, or they were freed";
  throw new RangeError(`A leaf of shape ${show(shape)} has ${found}; it needs ${size}.`);
}

/**
 * Checks the values that a request reads, and the memory that it writes.
 *
 * @throws {RangeError} where values are missing, and where memory has been freed, is too small or begins
 * where the adapter cannot bind it.
 */
export function requireMemoryOf(
  rt: Runtime,
  leaves: readonly Tensor[],
  writes: NonNullable<Request["write"]>,
): void {
  for (const leaf of leaves) {
    if (leaf.storage) requireWindow(rt, leaf, leaf.storage);
    else requireHost(leaf);
  }
  for (const [t, to] of writes) requireWindow(rt, t, to);
}

/**
 * Checks that a kept tensor's buffer holds nothing else, so that it may be freed.
 *
 * @throws {RangeError} where it is a part of one, as parameters in flat memory are.
 */
export function requireOwnBuffer(t: Tensor): void {
  if (!t.storage || t.storage.buffer.size === bytesOf(t)) return;
  throw new RangeError(
    `A tensor of shape ${show(t.shape)} is a part of a buffer of ${t.storage.buffer.size} bytes; ` +
      "free what holds all of it.",
  );
}
