/** Random organs and vessels around the heart of the phantom. */
import { type Blob, type Heart, type Tissue, waves } from "./phantom_anatomy.ts";
import type { Random } from "./random.ts";

interface Place {
  readonly x: number;
  readonly y: number;
  readonly z: number;
}

function blob(
  random: Random,
  place: Place,
  radii: readonly [number, number, number],
  brightness: number,
  shape: Partial<Pick<Blob, "edge" | "drift" | "ink" | "lungOnly">> & { wave?: number } = {},
): Blob {
  return {
    ...place,
    rx: radii[0],
    ry: radii[1],
    rz: radii[2],
    angle: random.uniform(-0.6, 0.6),
    outline: waves(random, shape.wave ?? 0.05, 5),
    brightness,
    edge: shape.edge ?? 1.8,
    drift: shape.drift ?? [0, 0],
    ink: shape.ink ?? 0,
    lungOnly: shape.lungOnly ?? false,
  };
}

/** In the order of painting: fat, liver, stomach and bowel, lung vessels, great vessels. */
export function drawOrgans(random: Random, heart: Heart, tissue: Tissue): Blob[] {
  return [
    ...drawAbdomen(random.fork("abdomen"), heart, tissue),
    ...drawLungVessels(random.fork("lung"), heart, tissue),
    ...drawVessels(random.fork("vessels"), heart, tissue),
  ];
}

function drawAbdomen(random: Random, heart: Heart, tissue: Tissue): Blob[] {
  const at = (angle: number, distance: number, z: number) => ({
    x: heart.x + distance * Math.cos(angle),
    y: heart.y + distance * Math.sin(angle),
    z,
  });
  const rise: [number, number] = [random.uniform(-0.15, 0.1), random.uniform(-0.25, -0.05)];
  const below = heart.epicardium * random.uniform(0.7, 1);
  const blobs = [
    // Fat below the diaphragm.
    blob(random, at(random.uniform(1.1, 1.4), below + 62, 45), [95, 52, 190], tissue.fat * 0.6, {
      drift: rise,
      wave: 0.07,
      ink: 0.5,
    }),
    blob(random, at(random.uniform(1.7, 2.05), below + 46, 45), [66, 44, 160], tissue.liver, {
      drift: rise,
      wave: 0.06,
      ink: 0.6,
    }),
  ];
  for (let i = 0; i < 12; i++) { // Vessels of the liver.
    const place = at(random.uniform(1.6, 2.3), random.uniform(55, 100), random.uniform(0, 90));
    const r = random.uniform(1.5, 4);
    blobs.push(
      blob(random, place, [r * 2, r, 25], tissue.blood * random.uniform(0.7, 1.1), {
        drift: [random.uniform(-0.6, 0.6), random.uniform(-0.4, 0.4)],
      }),
    );
  }
  // Stomach or bowel: rings with contents of any brightness, easily taken for a ventricle.
  const loops = 8 + random.integer(6);
  for (let i = 0; i < loops; i++) {
    const place = at(random.uniform(0.15, 1.6), random.uniform(48, 100), random.uniform(0, 90));
    const r = random.uniform(8, 20);
    const squeeze = random.uniform(0.6, 1);
    const extent = random.uniform(18, 50);
    const wall = random.uniform(2, 6);
    const ring = blob(random, place, [r, r * squeeze, extent], tissue.muscle * 1.1, {
      drift: rise,
      wave: 0.1,
      ink: 0.6,
    });
    const contents = random.uniform() < 0.5 ? tissue.blood * random.uniform(0.7, 1.1) : 0.12;
    blobs.push(ring, {
      ...ring,
      rx: r - wall,
      ry: Math.max(1, r * squeeze - wall),
      rz: extent * 0.9,
      brightness: random.uniform() < 0.35 ? ring.brightness * 1.5 : contents,
      ink: 0,
    });
  }
  return blobs;
}

function drawLungVessels(random: Random, heart: Heart, tissue: Tissue): Blob[] {
  const blobs: Blob[] = [];
  const count = 90 + random.integer(90);
  for (let i = 0; i < count; i++) {
    const angle = random.uniform(-1.9, 0.5);
    const distance = heart.epicardium + random.uniform(8, 60);
    const r = random.uniform(0.7, 1.4) * (random.uniform() < 0.15 ? 2.2 : 1);
    const place = {
      x: heart.x + distance * Math.cos(angle),
      y: heart.y + distance * Math.sin(angle),
      z: random.uniform(-20, 100),
    };
    blobs.push(
      blob(
        random,
        place,
        [r * random.uniform(1, 2), r, 14],
        tissue.blood * random.uniform(0.5, 1.2),
        {
          drift: [random.uniform(-0.7, 0.7), random.uniform(-0.7, 0.7)],
          edge: 2,
          lungOnly: true,
        },
      ),
    );
  }
  return blobs;
}

/** The descending aorta and one oblique vein, each with a wall of muscle's brightness. */
function drawVessels(random: Random, heart: Heart, tissue: Tissue): Blob[] {
  const blobs: Blob[] = [];
  for (const [angle, low, high] of [[random.uniform(0.2, 1.1), 9, 13], [2, 6, 10]] as const) {
    const distance = heart.epicardium + random.uniform(18, 34);
    const r = random.uniform(low, high);
    const place = {
      x: heart.x + distance * Math.cos(angle),
      y: heart.y + distance * Math.sin(angle),
      z: 10,
    };
    const drift = [random.uniform(-0.1, 0.2), random.uniform(0, 0.25)] as const;
    const outer = blob(random, place, [r + 2, r + 2, 150], tissue.muscle, {
      drift,
      wave: 0.04,
      ink: 0.5,
    });
    blobs.push(outer, {
      ...outer,
      rx: r,
      ry: r,
      rz: 140,
      brightness: tissue.blood * random.uniform(0.85, 1.15),
      ink: 0,
    });
  }
  return blobs;
}
