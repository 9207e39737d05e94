/** Paints one frame of a phantom patient and its labels. */
import { ANGLES, type Blob, type Outline, type Patient, type Scan } from "./phantom_anatomy.ts";
import { type Contours, contoursAt, heartCentre } from "./phantom_heart.ts";
import type { Random } from "./random.ts";

/** Phases of the heart's cycle, one volume each. */
export type Phase = "diastole" | "systole";

/** Intensities before normalisation and labels, both [slices, size, size]. */
export interface Rendering {
  readonly image: Float32Array;
  readonly label: Uint8Array;
}

interface Canvas {
  readonly size: number;
  /** Pixel side in mm. */
  readonly pixel: number;
  readonly data: Float32Array;
}

/** Irregularity of all borders of the heart in mm; moves them together, so they stay nested. */
const SWAY = 1.5;
const AIR = 0.01;
const LABEL = { rv: 1, myocardium: 2, lv: 3 } as const;

/** Renders all slices of a patient in one phase; `random` drives texture, motion and noise. */
export function renderFrame(
  patient: Patient,
  phase: Phase,
  size: number,
  random: Random,
): Rendering {
  const area = size * size;
  const image = new Float32Array(patient.slices * area);
  const label = new Uint8Array(patient.slices * area);
  const pixel = patient.spacing[2];
  for (let s = 0; s < patient.slices; s++) {
    const noise = random.fork("slice", s);
    const z = patient.firstSlice + s * patient.spacing[0];
    const canvas = { size, pixel, data: image.subarray(s * area, (s + 1) * area) };
    paintWall(canvas, patient, z);
    for (const organ of patient.blobs) paintBlob(canvas, organ, z);
    warp(canvas, patient.scan.warp, random.fork("warp"));
    // Each slice is taken in another breath-hold: the heart lies a little elsewhere.
    const shift: [number, number] = [noise.normal(0, 0.8), noise.normal(0, 0.8)];
    const contours = contoursAt(patient.heart, z, phase === "systole");
    if (contours) {
      const centre = heartCentre(patient.heart, z);
      const at: [number, number] = [centre[0] + shift[0], centre[1] + shift[1]];
      const labels = label.subarray(s * area, (s + 1) * area);
      paintHeart(canvas, patient, contours, at, noise.fork("heart"), labels);
    }
    applyScan(canvas, patient.scan, noise);
  }
  return { image, label };
}

// ---- painting ----------------------------------------------------------------------------------

/** 0 outside ... 1 inside for a depth below the surface, over an edge of `width`. */
function coverage(depth: number, width: number): number {
  const t = depth / width + 0.5;
  return t <= 0 ? 0 : t >= 1 ? 1 : t * t * (3 - 2 * t);
}

/** Darkness of the line on a border between fat and water, at a distance from it in mm. */
function ink(distance: number): number {
  const square = distance * distance;
  return square > 9 ? 0 : Math.exp(-square / 1.6);
}

function position(canvas: Canvas, index: number): number {
  return (index + 0.5 - canvas.size / 2) * canvas.pixel;
}

function indexOf(canvas: Canvas, mm: number): number {
  return Math.min(canvas.size, Math.max(0, Math.round(mm / canvas.pixel + canvas.size / 2)));
}

/** Value of an outline at an angle, linear between its entries. */
function lookUp(outline: Outline, angle: number): number {
  const at = (angle / (2 * Math.PI)) * ANGLES + ANGLES;
  const i = at | 0;
  const a = outline[i % ANGLES]!;
  return a + (outline[(i + 1) % ANGLES]! - a) * (at - i);
}

function paintWall(canvas: Canvas, { wall, tissue }: Patient, z: number): void {
  const { size, data } = canvas;
  for (let j = 0; j < size; j++) {
    const y = (position(canvas, j) - wall.y - wall.drift[1] * z) / wall.ry;
    for (let i = 0; i < size; i++) {
      const x = (position(canvas, i) - wall.x - wall.drift[0] * z) / wall.rx;
      const angle = Math.atan2(y, x);
      const depth = (lookUp(wall.outline, angle) - Math.sqrt(x * x + y * y)) * wall.rx;
      const at = j * size + i;
      data[at] = AIR;
      if (depth < -2) continue;
      const fat = lookUp(wall.fat, angle);
      const muscle = lookUp(wall.muscle, angle);
      let value = AIR + coverage(depth, 2) * (tissue.fat - AIR);
      value += coverage(depth - fat, 2) * (lookUp(wall.ribs, angle) - value);
      value += coverage(depth - fat - muscle, 3) * (tissue.lung - value);
      data[at] = value * (1 - 0.6 * ink(depth - fat));
    }
  }
}

function paintBlob(canvas: Canvas, blob: Blob, z: number): void {
  const along = (z - blob.z) / blob.rz;
  if (Math.abs(along) >= 1) return;
  const shrink = Math.sqrt(1 - along * along);
  const x0 = blob.x + blob.drift[0] * (z - blob.z);
  const y0 = blob.y + blob.drift[1] * (z - blob.z);
  const reach = Math.max(blob.rx, blob.ry) * shrink * 1.3 + blob.edge;
  const [cos, sin] = [Math.cos(blob.angle), Math.sin(blob.angle)];
  const scale = Math.min(blob.rx, blob.ry) * shrink;
  for (let j = indexOf(canvas, y0 - reach); j < indexOf(canvas, y0 + reach); j++) {
    const dy = position(canvas, j) - y0;
    for (let i = indexOf(canvas, x0 - reach); i < indexOf(canvas, x0 + reach); i++) {
      const dx = position(canvas, i) - x0;
      const u = (dx * cos + dy * sin) / (blob.rx * shrink);
      const v = (dy * cos - dx * sin) / (blob.ry * shrink);
      const radius = Math.sqrt(u * u + v * v);
      if (radius > 1.3 + blob.edge / scale) continue;
      const depth = (lookUp(blob.outline, Math.atan2(v, u)) - radius) * scale;
      const at = j * canvas.size + i;
      // Lung lies between the blackness of air and all other tissue.
      if (blob.lungOnly && (canvas.data[at]! < 0.02 || canvas.data[at]! > 0.12)) continue;
      canvas.data[at]! += coverage(depth, blob.edge) * (blob.brightness - canvas.data[at]!);
      if (blob.ink > 0) canvas.data[at]! *= 1 - blob.ink * ink(depth);
    }
  }
}

function paintHeart(
  canvas: Canvas,
  { heart, tissue }: Patient,
  contours: Contours,
  [x0, y0]: readonly [number, number],
  random: Random,
  label: Uint8Array,
): void {
  const { size, data } = canvas;
  const flow = smoothField(random.fork("flow"), size, 9);
  const strands = smoothField(random.fork("strands"), size, 26);
  const edge = canvas.pixel * (1.1 + contours.obliqueness);
  const rims = heart.fatRim;
  const sway = smoothField(random.fork("sway"), size, 8);
  const reach = contours.reach + contours.rvWall + Math.max(...rims) + 2 * edge + SWAY;
  for (let j = indexOf(canvas, y0 - reach); j < indexOf(canvas, y0 + reach); j++) {
    const dy = position(canvas, j) - y0;
    for (let i = indexOf(canvas, x0 - reach); i < indexOf(canvas, x0 + reach); i++) {
      const dx = position(canvas, i) - x0;
      const distance = Math.sqrt(dx * dx + dy * dy);
      if (distance > reach) continue;
      const r = distance + SWAY * sway[j * size + i]!;
      const angle = Math.atan2(dy, dx);
      const rim = lookUp(rims, angle);
      const epi = lookUp(contours.epicardium, angle);
      const endo = lookUp(contours.endocardium, angle);
      const rv = lookUp(contours.rv, angle);
      const rvWall = Math.max(epi, rv > epi + 1 ? rv + contours.rvWall : epi);
      const at = j * size + i;
      const stir = 1 + 0.22 * flow[at]!;
      // Trabeculae: strands of muscle along the walls of the cavities, part of the blood's label.
      const strand = Math.max(0, 1 - Math.abs(strands[at]!) / 0.18);
      let value = data[at]!;
      value += coverage(rvWall + rim - r, edge + 1) * (tissue.fat * 0.7 - value);
      value += coverage(rvWall - r, edge) * (tissue.myocardium - value);
      const inRv = coverage(rv - r, edge) * (rv > epi + 1 ? 1 : 0);
      value += inRv * (tissue.rvBlood * stir - value);
      value += 0.45 * inRv * strand * coverage(r - epi - 5, 8) * (tissue.myocardium - value);
      value += coverage(epi - r, edge) * (tissue.myocardium - value);
      const inLv = coverage(endo - r, edge);
      value += inLv * (tissue.blood * stir - value);
      value += 0.5 * inLv * strand * coverage(r - endo * 0.8, 6) * (tissue.myocardium - value);
      for (const p of contours.papillary) {
        const depth = p.radius - Math.sqrt((dx - p.x) ** 2 + (dy - p.y) ** 2);
        value += 0.85 * coverage(depth, edge * 1.3) * (tissue.myocardium - value);
      }
      data[at] = value;
      if (!contours.labelled) continue;
      if (r < endo) label[at] = LABEL.lv;
      else if (r < epi) label[at] = LABEL.myocardium;
      else if (r < rv) label[at] = LABEL.rv;
    }
  }
}

// ---- the scanner -------------------------------------------------------------------------------

/** Texture, coil profile, ghost, point spread and Rician noise. */
function applyScan(canvas: Canvas, scan: Scan, random: Random): void {
  const { size, data } = canvas;
  const coarse = smoothField(random.fork("coarse"), size, 12);
  const fine = smoothField(random.fork("fine"), size, 40);
  const falloff = (offset: number) =>
    Float32Array.from(
      { length: size },
      (_, i) => Math.exp(-((position(canvas, i) - offset) ** 2) / (2 * scan.coil.reach ** 2)),
    );
  const across = falloff(scan.coil.x);
  const down = falloff(scan.coil.y);
  for (let j = 0; j < size; j++) {
    for (let i = 0; i < size; i++) {
      const at = j * size + i;
      const near = across[i]! * down[j]!;
      const texture = 1 + scan.texture * (0.8 * coarse[at]! + fine[at]!);
      data[at]! *= texture * (0.55 + scan.coil.strength * near);
    }
  }
  addGhost(canvas, scan);
  blur(canvas, scan.blur);
  for (let at = 0; at < data.length; at++) {
    // Both channels of the complex noise come from one Box-Muller draw.
    const [radius, angle] = [rayleigh(random), random.uniform(0, 2 * Math.PI)];
    const real = data[at]! + scan.noise * radius * Math.cos(angle);
    const imaginary = scan.noise * radius * Math.sin(angle);
    data[at] = Math.sqrt(real * real + imaginary * imaginary);
  }
}

function rayleigh(random: Random): number {
  return Math.sqrt(-2 * Math.log((random.next() + 1) / 2 ** 32));
}

/** Moves every pixel by a smooth random field, so that borders are not drawn with compasses. */
function warp({ size, pixel, data }: Canvas, amplitude: number, random: Random): void {
  const source = data.slice();
  const [coarseX, coarseY, fineX, fineY] = [5, 5, 18, 18].map((cells, i) =>
    smoothField(random.fork(i), size, cells)
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const pixels = amplitude / pixel;
  for (let j = 0; j < size; j++) {
    for (let i = 0; i < size; i++) {
      const at = j * size + i;
      const x = clamp(i + pixels * (coarseX[at]! + 0.35 * fineX[at]!), size - 1.001);
      const y = clamp(j + pixels * (coarseY[at]! + 0.35 * fineY[at]!), size - 1.001);
      const [column, row] = [Math.floor(x), Math.floor(y)];
      const from = row * size + column;
      const u = x - column;
      const top = source[from]! + (source[from + 1]! - source[from]!) * u;
      const bottom = source[from + size]! + (source[from + size + 1]! - source[from + size]!) * u;
      data[at] = top + (bottom - top) * (y - row);
    }
  }
}

function clamp(value: number, limit: number): number {
  return Math.min(limit, Math.max(0, value));
}

/** Breathing repeats the image weakly along the phase-encoding direction (rows). */
function addGhost({ size, data }: Canvas, { ghost }: Scan): void {
  const source = data.slice();
  for (let j = 0; j < size; j++) {
    const from = ((j + ghost.shift) % size) * size;
    for (let i = 0; i < size; i++) data[j * size + i]! += ghost.strength * source[from + i]!;
  }
}

function blur({ size, data }: Canvas, deviation: number): void {
  const weights = [0, 1, 2].map((k) => Math.exp(-(k * k) / (2 * deviation * deviation)));
  const total = weights[0]! + 2 * (weights[1]! + weights[2]!);
  const [w0, w1, w2] = weights.map((w) => w / total) as [number, number, number];
  const line = new Float32Array(size + 4);
  for (const [next, step] of [[size, 1], [1, size]] as const) {
    for (let l = 0; l < size; l++) {
      for (let i = 0; i < size + 4; i++) {
        line[i] = data[l * next + Math.min(size - 1, Math.max(0, i - 2)) * step]!;
      }
      for (let i = 0; i < size; i++) {
        data[l * next + i * step] = w0 * line[i + 2]! + w1 * (line[i + 1]! + line[i + 3]!) +
          w2 * (line[i]! + line[i + 4]!);
      }
    }
  }
}

/** Smooth values in about -1 ... 1: a grid of `cells` random values a side, cubically faded. */
function smoothField(random: Random, size: number, cells: number): Float32Array {
  const side = cells + 2;
  const grid = Float32Array.from({ length: side * side }, () => random.uniform(-1, 1));
  const columns = cellsAlong(size, cells, random.uniform());
  const rows = cellsAlong(size, cells, random.uniform());
  const field = new Float32Array(size * size);
  for (let j = 0; j < size; j++) {
    const v = rows.faded[j]!;
    for (let i = 0; i < size; i++) {
      const g = rows.cell[j]! * side + columns.cell[i]!;
      const u = columns.faded[i]!;
      const top = grid[g]! + (grid[g + 1]! - grid[g]!) * u;
      const bottom = grid[g + side]! + (grid[g + side + 1]! - grid[g + side]!) * u;
      field[j * size + i] = top + (bottom - top) * v;
    }
  }
  return field;
}

function cellsAlong(size: number, cells: number, offset: number) {
  const cell = new Uint16Array(size);
  const faded = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const x = (i / size) * cells + offset;
    cell[i] = Math.floor(x);
    const t = x - cell[i]!;
    faded[i] = t * t * (3 - 2 * t);
  }
  return { cell, faded };
}
