/** Fixtures of the SSS parts that live on the host: PCSW, memory bank, metrics. */
import { readSafetensors, type SafetensorsFile } from "../engine/safetensors.ts";

/** A fixture's manifest and tensors; `T` is what the test expects the manifest to hold. */
export interface Fixture<T> {
  readonly manifest: T;
  readonly tensors: SafetensorsFile["tensors"];
}

/** Reads a fixture of the shared folder. Throws a plain sentence where the folder is absent. */
export async function readFixture<T>(name: string): Promise<Fixture<T>> {
  const file = (suffix: string) =>
    new URL(`../../shared/golden/${name}.${suffix}`, import.meta.url);
  let text: string;
  try {
    text = await Deno.readTextFile(file("manifest.json"));
  } catch (cause) {
    throw new Error(`This test needs the golden data in ../shared/golden (${name}).`, { cause });
  }
  const path = decodeURIComponent(file("safetensors").pathname);
  return { manifest: JSON.parse(text), tensors: (await readSafetensors(path)).tensors };
}

/** The bytes of a U8 tensor. */
export function bytes(fixture: Fixture<unknown>, name: string): Uint8Array {
  const data = fixture.tensors.get(name)?.data;
  if (!(data instanceof Uint8Array)) throw new Error(`The fixture has no U8 tensor "${name}".`);
  return data;
}

/** Numbers in [0, 1) of the golden data's hash for the name `seed`. */
export function hashUnits(seed: string, count: number): Float64Array {
  let basis = 0x811C9DC5;
  for (const byte of new TextEncoder().encode(seed)) basis = Math.imul(basis ^ byte, 0x01000193);
  return Float64Array.from({ length: count }, (_, i) => {
    let x = (basis + Math.imul(i, 0x9E3779B9)) >>> 0;
    x = Math.imul(x ^ (x >>> 16), 0x85EBCA6B);
    x = Math.imul(x ^ (x >>> 13), 0xC2B2AE35);
    x ^= x >>> 16;
    return (x >>> 8) / 2 ** 24;
  });
}

/** Values `offset + scale * v`, v in [-1, 1), of the same hash. */
export function hashValues(
  seed: string,
  count: number,
  offset: number,
  scale: number,
): Float32Array {
  return Float32Array.from(hashUnits(seed, count), (u) => offset + scale * (2 * u - 1));
}
