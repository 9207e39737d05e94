/** Overlap and surface-distance metrics of stored masks. */
import type { Spacing, VolumeShape } from "../../../model/sss/pcsw/volume.ts";
import { maskMetrics } from "../../metrics/metric_table.ts";
import { type Comparison, failure } from "../compare.ts";
import type { Fixture } from "../fixture.ts";
import { compareRelative } from "../kind.ts";

interface MetricCase {
  readonly name: string;
  readonly shape: VolumeShape;
  readonly dice: number;
  readonly jaccard: number;
  readonly distances: readonly (Readonly<Record<typeof DISTANCES[number], number>> & {
    readonly spacing: Spacing;
  })[];
}

const DISTANCES = ["hd", "hd95", "asd", "assd"] as const;
const RELATIVE = 1e-6;

/** Runs a fixture of kind `metrics`. */
export function runMetrics(fixture: Fixture): Promise<Comparison[]> {
  const cases = fixture.manifest.cases as readonly MetricCase[];
  return Promise.resolve(cases.flatMap((c) => compareCase(fixture, c)));
}

function compareCase(fixture: Fixture, c: MetricCase): Comparison[] {
  const [prediction, reference] = ["pred", "ref"].map((part) =>
    fixture.stored.get(`${c.name}/${part}`)?.data
  );
  if (!(prediction instanceof Uint8Array && reference instanceof Uint8Array)) {
    return [failure(c.name, "its masks are missing from the safetensors file")];
  }
  return c.distances.flatMap((golden) => {
    const ours = maskMetrics(prediction, reference, c.shape, golden.spacing);
    const name = `${c.name}[${golden.spacing}]`;
    return [
      ...(["dice", "jaccard"] as const).map((key) =>
        compareRelative(`${name}.${key}`, c[key], ours[key] ?? undefined, RELATIVE)
      ),
      ...DISTANCES.map((key) =>
        compareRelative(`${name}.${key}`, golden[key], ours[key] ?? undefined, RELATIVE)
      ),
    ];
  });
}
