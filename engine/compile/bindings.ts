/** Where the bindings of a plan's dispatches lie, and windows of those beyond what the adapter binds. */
import type { AdapterProfile } from "../device.ts";
import { DTYPES } from "../dtype.ts";
import { MemoryError, sizeText } from "../memory.ts";
import type { OutputSpec } from "../rule.ts";
import { numel } from "../shape.ts";
import { withAccess } from "../../shaders/access.ts";
import type { Kernel } from "../../shaders/kernel.ts";

/** Where a binding of a kernel lies. Offsets in leaves and targets are from where their values begin. */
export type Ref =
  & { readonly offset: number; readonly bytes: number }
  & (
    | { readonly kind: "leaf"; readonly leaf: number }
    | { readonly kind: "upload" }
    | { readonly kind: "arena" }
    | { readonly kind: "target"; readonly target: number }
  );

/** One dispatch. */
export interface PlanStep {
  readonly kernel: Kernel;
  readonly bindings: readonly Ref[];
}

/** What an adapter binds. */
export interface BindingLimits extends Pick<AdapterProfile, "maxBindings" | "maxBindingBytes"> {
  /** Byte alignment of storage binding offsets. */
  readonly alignment: number;
}

/** Least alignment of a window: vec4s lie in one. */
const VECTOR_BYTES = 16;

/** Bytes of all windows of a binding but the last. */
function windowBytes({ maxBindingBytes, alignment }: BindingLimits): number {
  const step = Math.max(alignment, VECTOR_BYTES);
  return Math.max(step, Math.floor(maxBindingBytes / step) * step);
}

/** Bytes of GPU memory that a value takes, as it is bound. */
export const bytesOf = ({ shape, dtype }: OutputSpec): number =>
  Math.ceil(numel(shape) * DTYPES[dtype].bytes / VECTOR_BYTES) * VECTOR_BYTES;

/** Bindings that `bytes` of memory take. */
function windowCount(bytes: number, limits: BindingLimits): number {
  return bytes <= limits.maxBindingBytes ? 1 : Math.ceil(bytes / windowBytes(limits));
}

/** Bindings that values take beyond one each. */
export function furtherWindows(values: Iterable<OutputSpec>, limits: BindingLimits): number {
  let further = 0;
  for (const value of values) further += windowCount(bytesOf(value), limits) - 1;
  return further;
}

/**
 * A dispatch whose bindings the adapter binds: what is too large for one is bound in windows.
 *
 * @throws {MemoryError} where a dispatch would take more bindings than there are.
 */
export function inWindows(step: PlanStep, limits: BindingLimits): PlanStep {
  const { kernel, bindings } = step;
  const counts = bindings.map(({ bytes }) => windowCount(bytes, limits));
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === bindings.length) return step;
  const size = windowBytes(limits);
  if (total > limits.maxBindings) {
    const bytes = bindings.reduce((sum, ref) => sum + ref.bytes, 0);
    throw new MemoryError(
      `${kernel.label} works on ${sizeText(bytes)} of GPU memory in ${total} bindings of at most ` +
        `${
          sizeText(limits.maxBindingBytes)
        }; this adapter binds ${limits.maxBindings} at a time: ` +
        "smaller inputs, or parts of them one after the other, need less.",
      bytes,
      limits.maxBindings * limits.maxBindingBytes,
    );
  }
  const window = (ref: Ref, k: number): Ref => ({
    ...ref,
    offset: ref.offset + k * size,
    bytes: Math.min(size, ref.bytes - k * size),
  });
  const further = bindings.flatMap((ref, i) =>
    Array.from({ length: counts[i] - 1 }, (_, k) => window(ref, k + 1))
  );
  return {
    kernel: withAccess(kernel, counts.map((count) => count > 1 ? { windows: count } : undefined)),
    bindings: [...bindings.map((ref, i) => counts[i] > 1 ? window(ref, 0) : ref), ...further],
  };
}
