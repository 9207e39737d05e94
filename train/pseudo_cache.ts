/** PCSW's verdicts on the unlabelled volumes, refreshed as the teacher learns. */
import type { SssConfig } from "../model/sss/config.ts";
import { pcswOptions } from "../model/sss/config.ts";
import type { LabelVoxels } from "../model/sss/pcsw/labelling.ts";
import { pcsw } from "../model/sss/pcsw/pcsw.ts";
import type { SssModel } from "../model/sss/sss_model.ts";
import type { SlicePool } from "./slices.ts";
import type { SlicePseudo } from "./step_inputs.ts";
import { encodeVolume } from "./volume_encoder.ts";

interface VolumeVerdict {
  readonly refreshed: number;
  readonly slices: readonly SlicePseudo[];
}

/** Verdicts by volume; a volume is searched when one of its slices is drawn and the last search is old. */
export class PseudoCache {
  private readonly verdicts = new Map<number, VolumeVerdict>();
  private readonly volumeOf: Int32Array;

  constructor(
    private readonly pool: SlicePool,
    private readonly config: SssConfig,
    private readonly size: number,
    private readonly label: LabelVoxels | undefined,
  ) {
    this.volumeOf = new Int32Array(pool.images.length);
    pool.volumes.forEach((v, i) => this.volumeOf.fill(i, v.first, v.first + v.count));
  }

  /** Verdicts on slices for `step`; volumes whose verdict is `pcswEvery` steps old are searched anew. */
  async get(slices: readonly number[], step: number, teacher: SssModel): Promise<SlicePseudo[]> {
    for (const index of new Set(slices.map((s) => this.volumeOf[s]))) {
      const known = this.verdicts.get(index);
      if (known && step - known.refreshed < this.config.pcswEvery) continue;
      this.verdicts.set(index, { refreshed: step, slices: await this.search(index, teacher) });
    }
    return slices.map((s) => {
      const index = this.volumeOf[s];
      return this.verdicts.get(index)!.slices[s - this.pool.volumes[index].first];
    });
  }

  private async search(index: number, teacher: SssModel): Promise<SlicePseudo[]> {
    const { first, count, spacing } = this.pool.volumes[index];
    const { size } = this;
    const planes = this.pool.images.slice(first, first + count);
    const { coarse } = await encodeVolume(teacher, planes, size, { ...this.config, keep: false });
    const found = await pcsw(
      coarse,
      [teacher.classes + 1, count, size, size],
      pcswOptions(this.config),
      { spacing, ...(this.label ? { label: this.label } : {}) },
    );
    const plane = size * size;
    return planes.map((_, z) => {
      const weight = new Uint8Array(found.length * plane);
      const kept = new Uint8Array(found.length * plane);
      found.forEach((own, c) => {
        weight.set(own.voxelWeight.subarray(z * plane, (z + 1) * plane), c * plane);
        kept.set(own.keptMask.subarray(z * plane, (z + 1) * plane), c * plane);
      });
      const points = found.map((own) => own.slices.find((p) => p.z === z)?.point ?? null);
      return { weight, kept, points };
    });
  }

  /** Everything for a checkpoint: masks as bits, points and ages as plain data. */
  save(): { bits: Uint8Array; entries: unknown } {
    const indices = [...this.verdicts.keys()].sort((a, b) => a - b);
    const masks = indices.flatMap((i) =>
      this.verdicts.get(i)!.slices.flatMap((s) => [s.weight, s.kept])
    );
    const bits = packBits(masks);
    const entries = indices.map((index) => {
      const { refreshed, slices } = this.verdicts.get(index)!;
      return { index, refreshed, points: slices.map((s) => s.points) };
    });
    return { bits, entries };
  }

  /** Takes over what {@link save} gave. */
  load({ bits, entries }: ReturnType<PseudoCache["save"]>, classes: number): void {
    this.verdicts.clear();
    const length = classes * this.size * this.size;
    let at = 0;
    const next = () => unpackBits(bits, length * at++, length);
    for (const { index, refreshed, points } of entries as SavedEntry[]) {
      const slices = points.map((own) => ({ weight: next(), kept: next(), points: own }));
      this.verdicts.set(index, { refreshed, slices });
    }
  }
}

interface SavedEntry {
  readonly index: number;
  readonly refreshed: number;
  readonly points: SlicePseudo["points"][];
}

function packBits(masks: readonly Uint8Array[]): Uint8Array {
  const total = masks.reduce((n, m) => n + m.length, 0);
  const bits = new Uint8Array(Math.ceil(total / 8));
  let at = 0;
  for (const mask of masks) {
    for (let i = 0; i < mask.length; i++, at++) if (mask[i]) bits[at >> 3] |= 1 << (at & 7);
  }
  return bits;
}

function unpackBits(bits: Uint8Array, start: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (bits[(start + i) >> 3] >> ((start + i) & 7)) & 1);
}
