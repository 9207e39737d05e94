/** Labels of a scan from the masks of its slices. */
import type { SliceLayout } from "./volume_source.ts";
import type { FrameMasks } from "./video_options.ts";

/**
 * Writes the labels of one slice where it lies in the scan: of several objects at a voxel the surest
 * counts, 0 stands for none.
 *
 * @param labels of the whole scan; those of the slice are replaced.
 * @param labelOf the label of each object of `masks`.
 */
export function labelSlice(
  labels: Uint8Array,
  { height, width, strides }: SliceLayout,
  { frame, logits }: Pick<FrameMasks, "frame" | "logits">,
  labelOf: readonly number[],
): void {
  const plane = height * width;
  for (let pixel = 0; pixel < plane; pixel++) {
    let [label, best] = [0, 0];
    for (let i = 0; i < labelOf.length; i++) {
      const logit = logits[i * plane + pixel];
      if (logit > best) [label, best] = [labelOf[i], logit];
    }
    const [x, y] = [pixel % width, Math.floor(pixel / width)];
    labels[frame * strides.slice + y * strides.row + x * strides.voxel] = label;
  }
}
