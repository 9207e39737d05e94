/**
 * Fills slices that a component skips by shape-based interpolation: the signed distances of the
 * sections on both sides are blended, and their positive part is the missing section.
 *
 * @module
 */
import type { Component } from "./continuity.ts";
import { squaredDistanceTransform } from "./distance_transform.ts";
import type { Pieces } from "./pieces.ts";
import type { Spacing } from "./volume.ts";

/** A rectangle of pixels, inclusive; it may reach one pixel beyond the image. */
interface Frame {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Pixels `[H, W]` (as indices into the slice) of a component's section. */
function sectionPixels(pieces: Pieces, members: readonly number[]): number[] {
  const [, H, W] = pieces.shape;
  const plane = pieces.slice[members[0]] * H * W;
  const wanted = new Set(members);
  const pixels: number[] = [];
  for (let i = 0; i < H * W; i++) {
    const label = pieces.labels[plane + i];
    if (label !== 0 && wanted.has(label - 1)) pixels.push(i);
  }
  return pixels;
}

/** Bounds of the pixels with a margin of one, so that the image border counts as background. */
function frameOf(pixels: readonly (readonly number[])[], W: number): Frame {
  let left = Infinity, right = -Infinity, top = Infinity, bottom = -Infinity;
  for (const list of pixels) {
    for (const i of list) {
      const x = i % W, y = (i - x) / W;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  return { left: left - 1, top: top - 1, width: right - left + 3, height: bottom - top + 3 };
}

/** Distance to the background inside the section, minus the distance to the section outside. */
function signedDistance(
  pixels: readonly number[],
  frame: Frame,
  W: number,
  spacing: Spacing,
): Float64Array {
  const inside = new Uint8Array(frame.width * frame.height);
  for (const i of pixels) {
    const x = i % W, y = (i - x) / W;
    inside[(y - frame.top) * frame.width + x - frame.left] = 1;
  }
  const outside = inside.map((v) => 1 - v);
  const shape = [1, frame.height, frame.width] as const;
  const toSection = squaredDistanceTransform(inside, shape, spacing);
  const toBackground = squaredDistanceTransform(outside, shape, spacing);
  return toBackground.map((d, i) => Math.sqrt(d) - Math.sqrt(toSection[i]));
}

/**
 * Indices of the voxels to add to `component`: in every slice between two of its sections that has
 * none itself. A component holds such a slice only where its sections overlap across the gap, so the
 * filled section is never empty there.
 */
export function gapVoxels(
  pieces: Pieces,
  component: Component,
  spacing: Spacing | null,
): number[] {
  const [, H, W] = pieces.shape;
  const voxels: number[] = [];
  for (let i = 0; i + 1 < component.length; i++) {
    const below = pieces.slice[component[i]], above = pieces.slice[component[i + 1]];
    if (above - below < 2) continue;
    const sides = [below, above].map((z) =>
      sectionPixels(pieces, component.filter((piece) => pieces.slice[piece] === z))
    );
    const frame = frameOf(sides, W);
    const [a, b] = sides.map((side) => signedDistance(side, frame, W, spacing ?? [1, 1, 1]));
    for (let z = below + 1; z < above; z++) {
      const t = (z - below) / (above - below);
      for (let j = 0; j < a.length; j++) {
        if ((1 - t) * a[j] + t * b[j] <= 0) continue;
        const x = frame.left + j % frame.width, y = frame.top + Math.floor(j / frame.width);
        if (x >= 0 && x < W && y >= 0 && y < H) voxels.push((z * H + y) * W + x);
      }
    }
  }
  return voxels;
}
