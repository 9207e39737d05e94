/** What a phantom patient is made of: what is where, in millimetres, and how bright. */
import type { Random } from "./random.ts";

/** A closed outline: radius factors at equally spaced angles, about 1 on average. */
export type Outline = Float32Array;

/** Number of angles of an outline. */
export const ANGLES = 256;

/** An ellipsoid with a wavy outline, painted over what lies below it. */
export interface Blob {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly rx: number;
  readonly ry: number;
  /** Half its extent along the slices. */
  readonly rz: number;
  readonly angle: number;
  readonly outline: Outline;
  readonly brightness: number;
  /** Width of its edge in mm. */
  readonly edge: number;
  /** Drift of its centre along x and y per mm of z: vessels run obliquely. */
  readonly drift: readonly [number, number];
  /** Strength, 0 to 1, of the dark line that this sequence draws between fat and water. */
  readonly ink: number;
  /** Whether it shows only where there is lung. */
  readonly lungOnly: boolean;
}

/** The layers of the body from the skin inwards. */
export interface Wall {
  readonly x: number;
  readonly y: number;
  readonly rx: number;
  readonly ry: number;
  /** Movement of its centre per mm of z: the chest narrows towards the apex. */
  readonly drift: readonly [number, number];
  readonly outline: Outline;
  /** Thickness in mm at each angle. */
  readonly fat: Outline;
  readonly muscle: Outline;
  /** Brightness of the muscle layer at each angle: ribs come and go. */
  readonly ribs: Outline;
}

/** Sizes of a heart at end of diastole and how it contracts. Lengths in mm, angles in radians. */
export interface Heart {
  readonly x: number;
  readonly y: number;
  /** Movement of the axis from base to apex. */
  readonly tilt: readonly [number, number];
  readonly length: number;
  readonly epicardium: number;
  readonly thickness: number;
  readonly rvDepth: number;
  readonly rvHalfAngle: number;
  /** Moves the bulge of the right ventricle towards one end of its crescent, -1 to 1. */
  readonly rvSkew: number;
  /** Direction from the left to the right ventricle. */
  readonly septum: number;
  readonly epicardialOutline: Outline;
  readonly endocardialOutline: Outline;
  readonly wallOutline: Outline;
  readonly rvOutline: Outline;
  /** Papillary muscles: angle, and distance and size as fractions of the cavity's radius. */
  readonly papillary: readonly { angle: number; distance: number; size: number }[];
  readonly systole: {
    readonly epicardium: number;
    /** Thickness factor at each angle. */
    readonly thickness: Outline;
    readonly rvDepth: number;
    /** Movement of the base towards the apex as a fraction of the length. */
    readonly baseDescent: number;
  };
  /** Thickness in mm of the fat around the heart at each angle. */
  readonly fatRim: Outline;
}

/** Brightness of tissues before the coil's profile, noise and normalisation. */
export interface Tissue {
  readonly blood: number;
  readonly rvBlood: number;
  readonly myocardium: number;
  readonly fat: number;
  readonly muscle: number;
  readonly lung: number;
  readonly liver: number;
}

/** How the scanner sees the patient. */
export interface Scan {
  /** Position of the surface coil in mm, reach in mm, strength. */
  readonly coil: { readonly x: number; readonly y: number; reach: number; strength: number };
  /** Standard deviation of each noise channel. */
  readonly noise: number;
  /** Standard deviation of the point spread in pixels. */
  readonly blur: number;
  /** Strength and shift in pixels (along rows) of the respiratory ghost. */
  readonly ghost: { readonly strength: number; readonly shift: number };
  /** Amplitude of texture relative to the tissue's brightness. */
  readonly texture: number;
  /** Amplitude in mm of the irregular warp of everything but the heart. */
  readonly warp: number;
}

/** Everything that both frames of a patient share. */
export interface Patient {
  readonly slices: number;
  readonly spacing: readonly [number, number, number];
  /** z of the first slice; the base of the heart at diastole is at 0. */
  readonly firstSlice: number;
  readonly wall: Wall;
  readonly blobs: readonly Blob[];
  readonly heart: Heart;
  readonly tissue: Tissue;
  readonly scan: Scan;
}

const COSINES = Float32Array.from(
  { length: ANGLES },
  (_, i) => Math.cos((2 * Math.PI * i) / ANGLES),
);

/** An outline of random harmonics whose amplitude falls with their order. */
export function waves(random: Random, amplitude: number, orders: number, first = 2): Outline {
  const outline = new Float32Array(ANGLES).fill(1);
  for (let order = first; order < first + orders; order++) {
    const a = (random.uniform(0.4, 1) * amplitude) / Math.sqrt(order - first + 1);
    const phase = random.integer(ANGLES);
    for (let i = 0; i < ANGLES; i++) outline[i]! += a * COSINES[(order * i + phase) % ANGLES]!;
  }
  return outline;
}

/** An angle in -pi ... pi. */
export function wrap(angle: number): number {
  return angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));
}
