import { interpolate, read, readAll, runtime, slice, type Tensor } from "../../engine/mod.ts";
import { resizePlane } from "./host_resize.ts";

const BYTES = 4;

/** Bytes by which the engine may enlarge a binding, to align it. */
const ALIGNMENT = 256;

/**
 * Reads masks [N, 1, h, w] at another size, [N, height, width], and other tensors beside them. The work
 * is cut so that no part exceeds what the adapter can bind; single masks that do are resized on the host.
 */
export async function readMasks(
  masks: Tensor,
  [height, width]: readonly [number, number],
  others: readonly Tensor[] = [],
): Promise<{ logits: Float32Array; others: Float32Array[] }> {
  const [count, , h, w] = masks.shape;
  const { maxBindingBytes } = (await runtime()).device.profile;
  const plane = height * width;
  const together = Math.floor((maxBindingBytes - ALIGNMENT) / (plane * BYTES));
  const resized = (part: Tensor) => interpolate(part, { size: [height, width], mode: "bilinear" });
  if (count <= together) {
    const [logits, ...rest] = await readAll([resized(masks), ...others]) as Float32Array[];
    return { logits, others: rest };
  }
  const logits = new Float32Array(count * plane);
  const rest = await readAll(others) as Float32Array[];
  if (together === 0) {
    const data = await read(masks);
    for (let i = 0; i < count; i++) {
      const source = { data, offset: i * h * w, step: 1, height: h, width: w };
      logits.set(resizePlane(source, [height, width], false), i * plane);
    }
    return { logits, others: rest };
  }
  for (let i = 0; i < count; i += together) {
    const part = slice(masks, 0, i, Math.min(count, i + together));
    logits.set(await read(resized(part)), i * plane);
  }
  return { logits, others: rest };
}
