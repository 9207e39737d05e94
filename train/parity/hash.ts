/** The integer hash from which every weight and nearly every input of a fixture is made. */

/** FNV-1a, 32 bit, over the UTF-8 bytes of `name`: the seed of a tensor. */
export function fnv1a(name: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

/** The 32-bit hash of element `i` of a tensor with that seed. */
export function hashBits(seed: number, i: number): number {
  let x = (seed + Math.imul(i, 0x9e3779b9)) >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

/** Exact values in [0, 1) with 24 bits. */
export function hashUnits(name: string, count: number): Float64Array {
  const seed = fnv1a(name);
  return Float64Array.from({ length: count }, (_, i) => (hashBits(seed, i) >>> 8) / 2 ** 24);
}

/** `offset + scale * v` with v in [-1, 1), rounded once to float32. */
export function hashValues(
  name: string,
  count: number,
  offset: number,
  scale: number,
): Float32Array<ArrayBuffer> {
  const seed = fnv1a(name);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    values[i] = offset + scale * (2 * ((hashBits(seed, i) >>> 8) / 2 ** 24) - 1);
  }
  return values;
}
