/** Outlines of a phantom heart in one slice. */
import { ANGLES, type Heart, type Outline, wrap } from "./phantom_anatomy.ts";

/** Radii in mm about the heart's axis at each angle of an `Outline`, and what goes with them. */
export interface Contours {
  readonly epicardium: Outline;
  /** Inner border of the myocardium; 0 where the cavity is closed. */
  readonly endocardium: Outline;
  /** Outer border of the right ventricle; at most `epicardium` where there is none. */
  readonly rv: Outline;
  /** Thickness of the right ventricle's free wall. */
  readonly rvWall: number;
  /** Largest radius of all. */
  readonly reach: number;
  readonly papillary: readonly { x: number; y: number; radius: number }[];
  /** Atria above the base look like ventricles but carry no labels. */
  readonly labelled: boolean;
  /** How far the wall slants through the slice: blurs edges towards the apex. */
  readonly obliqueness: number;
}

/** Smallest mean radius of a cavity that is still drawn, in mm. */
const LEAST_CAVITY = 3.5;

/** Centre of the heart at a depth. */
export function heartCentre(heart: Heart, z: number): [number, number] {
  const t = z / heart.length;
  return [heart.x + heart.tilt[0] * t, heart.y + heart.tilt[1] * t];
}

/** The contours at a depth `z` in mm below the diastolic base, or undefined beyond the apex. */
export function contoursAt(heart: Heart, z: number, systole: boolean): Contours | undefined {
  const base = systole ? heart.systole.baseDescent * heart.length : 0;
  const t = (z - base) / (heart.length - base);
  if (t > 1) return undefined;
  if (t < -0.02) return atria(heart);
  const depth = Math.max(0, t);
  const epicardium = new Float32Array(ANGLES);
  const endocardium = new Float32Array(ANGLES);
  const outer = heart.epicardium * (systole ? heart.systole.epicardium : 1) *
    Math.sqrt(1 - (0.95 * depth) ** 2.6);
  const wall = heart.thickness * (1 - 0.25 * depth);
  for (let i = 0; i < ANGLES; i++) {
    epicardium[i] = outer * heart.epicardialOutline[i]!;
    const factor = heart.wallOutline[i]! * (systole ? heart.systole.thickness[i]! : 1);
    // A wall thinner than two pixels would tear apart when it is sampled; a cavity closes near
    // the apex only.
    const most = epicardium[i]! * (0.6 + 0.4 * depth ** 2);
    const thickness = Math.max(4.2, Math.min(most, wall * factor));
    endocardium[i] = Math.max(0, (epicardium[i]! - thickness) * heart.endocardialOutline[i]!);
  }
  const mean = endocardium.reduce((a, b) => a + b) / ANGLES;
  if (mean < LEAST_CAVITY || endocardium.includes(0)) endocardium.fill(0);
  const rv = rightVentricle(heart, depth, systole, epicardium);
  return {
    epicardium,
    endocardium,
    rv,
    rvWall: 2.2 + (systole ? 1 : 0),
    reach: Math.max(...epicardium, ...rv),
    papillary: depth < 0.12 || mean < 9 ? [] : papillaryMuscles(heart, depth, mean, systole),
    labelled: true,
    obliqueness: 0.8 * depth ** 3,
  };
}

/** A crescent on the septal side; it ends before the apex. */
function rightVentricle(heart: Heart, t: number, systole: boolean, epicardium: Outline): Outline {
  const rv = new Float32Array(ANGLES);
  const depth = heart.rvDepth * (systole ? heart.systole.rvDepth : 1) *
    Math.max(0, 1 - (t / 0.9) ** 2.5);
  const half = heart.rvHalfAngle * (1 - 0.3 * t);
  for (let i = 0; i < ANGLES; i++) {
    const turn = wrap((i * 2 * Math.PI) / ANGLES - heart.septum) / half;
    const inside = 1 - turn * turn;
    if (inside <= 0 || depth < 5) continue;
    const bulge = inside ** 0.7 * (1 + heart.rvSkew * turn);
    rv[i] = epicardium[i]! + depth * bulge * heart.rvOutline[i]!;
  }
  return rv;
}

function papillaryMuscles(
  heart: Heart,
  t: number,
  cavity: number,
  systole: boolean,
): Contours["papillary"] {
  const grown = (systole ? 1.25 : 1) * (1 - 0.3 * t);
  return heart.papillary.map(({ angle, distance, size }) => ({
    x: cavity * distance * Math.cos(angle),
    y: cavity * distance * Math.sin(angle),
    radius: cavity * size * grown,
  }));
}

/** Thin-walled chambers in the place of the ventricles. */
function atria(heart: Heart): Contours {
  const epicardium = heart.epicardialOutline.map((f) => heart.epicardium * 0.85 * f);
  const rv = rightVentricle(
    { ...heart, rvHalfAngle: heart.rvHalfAngle * 0.8 },
    0,
    true,
    epicardium,
  );
  return {
    epicardium,
    endocardium: epicardium.map((r) => r - 2.5),
    rv,
    rvWall: 2.2,
    reach: Math.max(...epicardium, ...rv),
    papillary: [],
    labelled: false,
    obliqueness: 0.4,
  };
}
