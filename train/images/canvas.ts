/** Pictures with masks and prompts drawn over them. */
import { resizePillow } from "../../model/predictors/pillow_resize.ts";
import type { Box } from "../../model/predictors/boxes.ts";
import type { BinaryMask } from "../../model/predictors/video_options.ts";
import type { Point } from "../../model/sam2/image_prompts.ts";
import type { RgbImage } from "../../model/sam2/image_transform.ts";
import { LINE_HEIGHT, textPicture } from "./font.ts";
import { CLASS_COLOURS } from "./overlay.ts";
import { blank, type Colour, enlarge, paste, type Picture } from "./picture.ts";

/** Bounds of the longer side of what is shown, in pixels. */
export interface ShownSize {
  /** Smaller pictures are enlarged by a whole number. */
  readonly least: number;
  /** Larger ones are reduced. */
  readonly most: number;
}

/** Opacity of a mask, and of its border. */
const [FILL, BORDER] = [0.35, 0.95];

const [ON_OBJECT, OFF_OBJECT, RING]: Colour[] = [[40, 220, 90], [235, 50, 50], [255, 255, 255]];

/** Colour of object 0, 1, …: those of the classes first, then hues far from each other. */
export function objectColour(index: number): Colour {
  if (index < CLASS_COLOURS.length) return CLASS_COLOURS[index];
  // Steps of the golden angle never come close to an earlier hue.
  const hue = index * 137.508 % 360;
  const channel = (shift: number) => {
    const k = (shift + hue / 30) % 12;
    return Math.round(255 * (0.55 - 0.4 * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** A picture to draw on, in coordinates of the image that it shows. */
export class Canvas {
  /** What has been drawn so far. */
  readonly picture: Picture;
  /** Pixels of the picture per pixel of the image. */
  private readonly scale: number;

  /** A copy of an image in a size fit for looking at. */
  constructor(private readonly image: RgbImage, { least, most }: ShownSize) {
    const { data, width, height } = image;
    const side = Math.max(width, height);
    if (side > most) {
      const to = (length: number) => Math.max(1, Math.round(length * most / side));
      const small = resizePillow(image, to(width), to(height));
      this.picture = { ...small, data: Uint8Array.from(small.data) };
      this.scale = most / side;
    } else {
      this.scale = Math.max(1, Math.ceil(least / side));
      this.picture = enlarge({ data: Uint8Array.from(data), width, height }, this.scale);
    }
  }

  /** Tints a mask of the image's size, and draws its border. */
  mask({ data, width }: BinaryMask, colour: Colour): void {
    const { picture } = this;
    const inside = (x: number, y: number) => {
      if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return false;
      const column = Math.min(this.image.width - 1, Math.floor(x / this.scale));
      const row = Math.min(this.image.height - 1, Math.floor(y / this.scale));
      return data[row * width + column] !== 0;
    };
    const reach = this.thickness;
    for (let y = 0; y < picture.height; y++) {
      for (let x = 0; x < picture.width; x++) {
        if (!inside(x, y)) continue;
        const edge = !inside(x - reach, y) || !inside(x + reach, y) ||
          !inside(x, y - reach) || !inside(x, y + reach);
        this.blend(x, y, colour, edge ? BORDER : FILL);
      }
    }
  }

  /** Draws a click as a disc: green on the object, red off it. */
  point([x, y]: Point, onObject: boolean): void {
    const radius = 3 * this.thickness + 1;
    const [cx, cy] = [Math.round(x * this.scale), Math.round(y * this.scale)];
    for (let dy = -radius; dy <= radius; dy++) {
      for (let dx = -radius; dx <= radius; dx++) {
        const distance = Math.hypot(dx, dy);
        if (distance > radius) continue;
        const ring = distance > radius - this.thickness;
        this.blend(cx + dx, cy + dy, ring ? RING : onObject ? ON_OBJECT : OFF_OBJECT, 1);
      }
    }
  }

  /** Draws the outline of a box. */
  box(box: Box, colour: Colour): void {
    const [x0, y0, x1, y1] = box.map((value) => Math.round(value * this.scale));
    for (let i = 0; i < this.thickness; i++) {
      for (let x = x0; x <= x1; x++) {
        this.blend(x, y0 + i, colour, 1);
        this.blend(x, y1 - i, colour, 1);
      }
      for (let y = y0; y <= y1; y++) {
        this.blend(x0 + i, y, colour, 1);
        this.blend(x1 - i, y, colour, 1);
      }
    }
  }

  /** Writes a few words into the upper left corner, where they fit. */
  caption(text: string): void {
    const factor = Math.max(1, Math.floor(this.picture.height / (12 * LINE_HEIGHT)));
    const words = textPicture(text, RING);
    const framed = blank(words.width + 4, words.height + 4);
    paste(framed, words, 2, 2);
    const sign = enlarge(framed, Math.min(factor, 4));
    if (sign.width > this.picture.width || sign.height > this.picture.height) return;
    paste(this.picture, sign, 0, 0);
  }

  /** Width of lines: a 400th of the longer side. */
  private get thickness(): number {
    return Math.max(1, Math.round(Math.max(this.picture.width, this.picture.height) / 400));
  }

  private blend(x: number, y: number, colour: Colour, alpha: number): void {
    const { data, width, height } = this.picture;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const at = (y * width + x) * 3;
    for (let c = 0; c < 3; c++) data[at + c] += Math.round(alpha * (colour[c] - data[at + c]));
  }
}
