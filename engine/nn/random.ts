/** Seeded host randomness for initial values. */

/** Draws a number from [0, 1). */
export type Random = () => number;

/** A generator (splitmix32) that gives the same sequence for the same seed. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return ((x ^ (x >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** A 32-bit seed for a name under a base seed, so that values do not depend on the order of names. */
export function seedOf(name: string, base: number): number {
  let hash = 0x811c9dc5 ^ (base >>> 0);
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
