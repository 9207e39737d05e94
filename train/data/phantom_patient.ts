/** Random phantom patients. */
import {
  ANGLES,
  type Heart,
  type Patient,
  type Scan,
  type Tissue,
  type Wall,
  waves,
  wrap,
} from "./phantom_anatomy.ts";
import { drawOrgans } from "./phantom_organs.ts";
import type { Random } from "./random.ts";

/** A patient drawn from `random`. */
export function drawPatient(random: Random): Patient {
  const slices = 8 + random.integer(3);
  const inPlane = random.uniform(1.45, 1.75);
  const spacing = [random.uniform(8.5, 10.5), inPlane, inPlane] as const;
  const firstSlice = random.uniform(-0.2, 0.5) * spacing[0];
  const tissue = drawTissue(random.fork("tissue"));
  const length = firstSlice + (slices - random.uniform(0.3, 1.5)) * spacing[0];
  const heart = drawHeart(random.fork("heart"), length);
  return {
    slices,
    spacing,
    firstSlice,
    wall: drawWall(random.fork("wall"), heart, tissue),
    blobs: drawOrgans(random.fork("organs"), heart, tissue),
    heart,
    tissue,
    scan: drawScan(random.fork("scan"), heart),
  };
}

function drawTissue(random: Random): Tissue {
  const blood = random.uniform(0.5, 0.8);
  return {
    blood,
    rvBlood: blood * random.uniform(0.8, 1.08),
    myocardium: blood * random.uniform(0.25, 0.6),
    fat: random.uniform(0.7, 1.1),
    muscle: random.uniform(0.16, 0.3),
    lung: random.uniform(0.03, 0.07),
    liver: blood * random.uniform(0.35, 0.75),
  };
}

/** One of five groups as in ACDC: normal, infarct, dilated, hypertrophic, abnormal RV. */
function drawHeart(random: Random, length: number): Heart {
  const group = random.integer(5);
  const infarct = random.uniform(-Math.PI, Math.PI);
  const thickening = random.uniform(1.25, 1.6) * (group === 2 ? 0.8 : 1);
  const thickness = waves(random, 0.06, 3);
  for (let i = 0; i < ANGLES; i++) {
    const scar = group === 1 ? 0.6 * smoothBump((i * 2 * Math.PI) / ANGLES, infarct, 1.1) : 0;
    thickness[i]! *= thickening * (1 - scar);
  }
  const septum = random.uniform(2.85, 3.75);
  const wall = waves(random, 0.05, 4, 1);
  for (let i = 0; i < ANGLES; i++) {
    // Hypertrophy prefers the septum.
    if (group === 3) wall[i]! += 0.35 * smoothBump((i * 2 * Math.PI) / ANGLES, septum, 1.4);
  }
  const rim = random.uniform(0.5, 3.5);
  const fatRim = waves(random, 1.1, 4, 1);
  return {
    x: random.uniform(2, 22),
    y: random.uniform(-22, 0),
    tilt: [random.uniform(-6, 12), random.uniform(-8, 12)],
    length,
    epicardium: random.uniform(29, 35) * [1, 1.02, 1.17, 1.04, 0.97][group]!,
    thickness: random.uniform(7.5, 10.5) * [1, 0.95, 0.85, 1.4, 0.95][group]!,
    rvDepth: random.uniform(22, 33) * (group === 4 ? 1.4 : 1),
    rvHalfAngle: random.uniform(1.15, 1.45),
    rvSkew: random.uniform(-0.35, 0.15),
    septum,
    epicardialOutline: waves(random, 0.03, 5),
    endocardialOutline: waves(random, 0.03, 11, 3),
    wallOutline: wall,
    rvOutline: waves(random, 0.07, 6, 3),
    papillary: [septum + random.uniform(1.7, 2.3), septum - random.uniform(1.7, 2.3)].map(
      (angle) => ({
        angle,
        distance: random.uniform(0.55, 0.72),
        size: random.uniform(0.14, 0.24),
      }),
    ),
    systole: {
      epicardium: random.uniform(0.9, 0.96) + (group === 2 ? 0.03 : 0),
      thickness,
      rvDepth: random.uniform(0.55, 0.8),
      baseDescent: random.uniform(0.06, 0.15),
    },
    fatRim: fatRim.map((f) => Math.max(0, f * rim)),
  };
}

function drawWall(random: Random, heart: Heart, tissue: Tissue): Wall {
  const fat = waves(random, 0.25, 4, 1);
  const muscle = waves(random, 0.25, 5, 1);
  const fatThickness = random.uniform(5, 20);
  const muscleThickness = random.uniform(7, 13);
  const ribs = waves(random, 0.25, 9, 9);
  for (let i = 0; i < ANGLES; i++) {
    fat[i]! = Math.max(1.5, fat[i]! * fatThickness);
    muscle[i]! = Math.max(3, muscle[i]! * muscleThickness);
    ribs[i]! = Math.max(0.3, ribs[i]!) * tissue.muscle;
  }
  const rx = random.uniform(88, 112);
  const layers = fatThickness + muscleThickness;
  const toChest = heart.epicardium + heart.rvDepth + random.uniform(4, 14);
  return {
    x: heart.x - toChest - layers + rx,
    y: heart.y + random.uniform(22, 40),
    rx,
    ry: random.uniform(98, 116),
    drift: [random.uniform(0.05, 0.35), random.uniform(0.05, 0.3)],
    outline: waves(random, 0.035, 3),
    fat,
    muscle,
    ribs,
  };
}

function drawScan(random: Random, heart: Heart): Scan {
  const angle = random.uniform(3.3, 4.6);
  const distance = random.uniform(65, 110);
  return {
    coil: {
      x: heart.x + distance * Math.cos(angle),
      y: heart.y + distance * Math.sin(angle),
      reach: random.uniform(70, 140),
      strength: random.uniform(0.4, 2.2),
    },
    noise: random.uniform(0.01, 0.05),
    blur: random.uniform(0.5, 0.85),
    ghost: { strength: random.uniform(0, 0.09), shift: 20 + random.integer(40) },
    texture: random.uniform(0.12, 0.3),
    warp: random.uniform(2.5, 5),
  };
}

function smoothBump(angle: number, centre: number, halfWidth: number): number {
  const turn = Math.abs(wrap(angle - centre)) / halfWidth;
  return turn >= 1 ? 0 : Math.cos((turn * Math.PI) / 2) ** 2;
}
