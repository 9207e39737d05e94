/** Binary masks from logits. */

/**
 * 1 where a logit exceeds the threshold, else 0.
 *
 * A loop: `Uint8Array.from()` with a function holds all results as a list of numbers first, which takes
 * a gigabyte for a photograph.
 */
export function insideOf(logits: Float32Array, threshold = 0): Uint8Array<ArrayBuffer> {
  const inside = new Uint8Array(logits.length);
  for (let i = 0; i < logits.length; i++) inside[i] = logits[i] > threshold ? 1 : 0;
  return inside;
}
