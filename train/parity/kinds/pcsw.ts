/** The sliding-window search in its published form, on binary volumes. */
import { pcswMasks, type PcswOptions, reportedPcsw } from "../../../model/sss/pcsw/pcsw.ts";
import type { Connectivity, VolumeShape } from "../../../model/sss/pcsw/volume.ts";
import { windowRange } from "../../../model/sss/pcsw/windows.ts";
import { type Comparison, failure } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { compareExactly } from "../kind.ts";

interface PcswCase {
  readonly name: string;
  readonly shape: VolumeShape;
  readonly volume: string;
  readonly expected: {
    readonly range: readonly number[];
    /** [length, start, continuity or null where the window is empty] */
    readonly windows: readonly (readonly [number, number, number | null])[];
    readonly accepted: boolean;
    readonly slice: number;
    readonly box: readonly number[];
    readonly point: readonly number[];
    readonly kept_voxels: number;
  };
}

/** Runs a fixture of kind `pcsw`. */
export async function runPcsw(fixture: Fixture): Promise<Comparison[]> {
  const { tau, connectivity } = fixture.manifest as unknown as {
    tau: number;
    connectivity: Connectivity;
  };
  const options = { ...reportedPcsw, tau, connectivity };
  const comparisons: Comparison[] = [];
  for (const c of fixture.manifest.cases as readonly PcswCase[]) {
    comparisons.push(...await compareCase(fixture, c, options));
  }
  return comparisons;
}

async function compareCase(
  fixture: Fixture,
  c: PcswCase,
  options: PcswOptions,
): Promise<Comparison[]> {
  const volume = fixture.stored.get(c.volume)?.data;
  if (!(volume instanceof Uint8Array)) {
    return [failure(c.name, "its volume is missing from the safetensors file")];
  }
  const { shortest, first, longest } = windowRange(c.shape[0]);
  const [found] = await pcswMasks([volume], c.shape, options);
  const windows = found.windows.map((
    w,
  ) => [w.length, w.start, w.continuity]);
  const prompt = found.slices[0];
  const { expected } = c;
  const check = (name: string, golden: unknown, ours: unknown) =>
    compareExactly(`${c.name}.${name}`, golden, ours);
  const kept = fixture.stored.get(`${c.name}/kept`);
  const last = found.windows[found.windows.length - 1];
  const plane = c.shape[1] * c.shape[2];
  const inWindow = found.keptMask.subarray(last.start * plane, (last.start + last.length) * plane);
  return [
    check("range", expected.range, [shortest, first, longest]),
    check("windows", expected.windows, windows),
    check("accepted", expected.accepted, found.accepted),
    check("prompts", 1, found.slices.length),
    check("slice", expected.slice, prompt?.z),
    check("box", expected.box, prompt?.box),
    check("point", expected.point, prompt?.point),
    check("kept_voxels", expected.kept_voxels, found.keptMask.reduce((n, v) => n + v, 0)),
    ...(kept ? [check("kept", [...kept.data], [...inWindow])] : []),
  ];
}
