/** Slices with their segmentations drawn over them. */
import { textPicture } from "./font.ts";
import {
  blank,
  type Colour,
  encodePng,
  enlarge,
  grey,
  montage,
  paste,
  type Picture,
} from "./picture.ts";

/** Colours of the classes 1, 2, ...; they repeat when there are more classes. */
export const CLASS_COLOURS: readonly Colour[] = [
  [66, 135, 245],
  [70, 200, 90],
  [240, 75, 70],
  [250, 190, 40],
  [180, 90, 220],
  [50, 205, 215],
];

const FILL = 0.22;
const MARGIN = 8;
const INK: Colour = [225, 225, 225];
const MUTED: Colour = [150, 150, 150];

/** A slice with what is known about it. */
export interface OverlayInput {
  /** Intensities [H, W]. */
  readonly image: Float32Array;
  readonly size: readonly [height: number, width: number];
  /** Reference labels [H, W]. */
  readonly truth?: Uint8Array;
  /** Predicted labels [H, W]. */
  readonly prediction?: Uint8Array;
  /** Names of the classes 1, 2, ... for the legend. */
  readonly classes: readonly string[];
  /** A line above the panels. */
  readonly title?: string;
  /** Intensities shown black and white; the slice's least and 99.5th percentile by default. */
  readonly range?: readonly [number, number];
}

/**
 * A row of panels: the slice, then with the reference, then with the prediction (those that are
 * given), with captions and a legend. Slices are enlarged to at least 320 pixels.
 *
 * @throws {RangeError} if an array does not fill the slice.
 */
export function overlay(input: OverlayInput): Picture {
  const { image, size: [height, width], truth, prediction } = input;
  const factor = Math.max(1, Math.ceil(320 / Math.max(height, width)));
  const base = enlarge(grey(image, [height, width], input.range ?? displayRange(image)), factor);
  const panels: [string, Picture][] = [["Image", base]];
  for (const [name, labels] of [["Truth", truth], ["Prediction", prediction]] as const) {
    if (labels === undefined) continue;
    if (labels.length !== height * width) {
      throw new RangeError(`${labels.length} labels do not fill a slice of ${height} x ${width}.`);
    }
    panels.push([name, paintLabels(base, labels, [height, width], factor)]);
  }
  const captioned = panels.map(([name, picture]) => withCaption(name, picture));
  const row = montage(captioned, { columns: captioned.length, gap: 4 });
  const parts = [
    ...(input.title === undefined ? [] : [enlarge(textPicture(input.title, INK), 3)]),
    row,
    legend(input.classes),
  ];
  const content = column(parts, 8);
  const framed = blank(content.width + 2 * MARGIN, content.height + 2 * MARGIN);
  paste(framed, content, MARGIN, MARGIN);
  return framed;
}

/** The PNG file of `overlay`. */
export function overlayPng(input: OverlayInput): Uint8Array {
  return encodePng(overlay(input));
}

/** From the least value to the 99.5th percentile: few bright pixels must not darken the rest. */
export function displayRange(image: Float32Array): [number, number] {
  const sorted = image.toSorted();
  const high = sorted[Math.floor(0.995 * (sorted.length - 1))] ?? 1;
  return [sorted[0] ?? 0, high];
}

/** Tints labelled pixels and draws the border of each class, one output pixel wide or more. */
function paintLabels(
  base: Picture,
  labels: Uint8Array,
  [height, width]: readonly [number, number],
  factor: number,
): Picture {
  const data = base.data.slice();
  const border = Math.max(1, Math.floor(factor / 3));
  const labelAt = (y: number, x: number) =>
    y < 0 || x < 0 || y >= height || x >= width ? 0 : labels[y * width + x]!;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = labelAt(y, x);
      if (label === 0) continue;
      const colour = colourOf(label);
      const up = labelAt(y - 1, x) !== label;
      const down = labelAt(y + 1, x) !== label;
      const left = labelAt(y, x - 1) !== label;
      const right = labelAt(y, x + 1) !== label;
      for (let j = 0; j < factor; j++) {
        for (let i = 0; i < factor; i++) {
          const edge = (up && j < border) || (down && j >= factor - border) ||
            (left && i < border) || (right && i >= factor - border);
          const at = ((y * factor + j) * base.width + x * factor + i) * 3;
          const alpha = edge ? 0.9 : FILL;
          for (let c = 0; c < 3; c++) {
            data[at + c] = Math.round(data[at + c]! * (1 - alpha) + colour[c]! * alpha);
          }
        }
      }
    }
  }
  return { ...base, data };
}

function colourOf(label: number): Colour {
  return CLASS_COLOURS[(label - 1) % CLASS_COLOURS.length]!;
}

function withCaption(text: string, picture: Picture): Picture {
  return column([enlarge(textPicture(text, MUTED), 3), picture], 3);
}

function legend(classes: readonly string[]): Picture {
  const entries = classes.map((name, i) => {
    const text = enlarge(textPicture(name, INK), 3);
    const entry = blank(text.width + 40, text.height);
    paste(entry, blank(text.height, text.height, colourOf(i + 1)), 0, 0);
    paste(entry, text, text.height + 4, 0);
    return entry;
  });
  return entries.length === 0 ? blank(1, 1) : montage(entries, { columns: entries.length, gap: 4 });
}

/** Pictures below each other, flush left. */
function column(pictures: readonly Picture[], gap: number): Picture {
  const width = Math.max(...pictures.map((p) => p.width));
  const height = pictures.reduce((sum, p) => sum + p.height + gap, -gap);
  const out = blank(width, height);
  let y = 0;
  for (const picture of pictures) {
    paste(out, picture, 0, y);
    y += picture.height + gap;
  }
  return out;
}
