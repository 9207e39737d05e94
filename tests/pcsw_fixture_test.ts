import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { pcswOptions, sssConfig } from "../model/sss/config.ts";
import { labelVoxelsByDfs } from "../model/sss/pcsw/labelling.ts";
import { pcswMasks, reportedPcsw } from "../model/sss/pcsw/pcsw.ts";
import { windowRange } from "../model/sss/pcsw/windows.ts";
import { bytes, readFixture } from "./sss_golden.ts";

interface PcswManifest {
  tau: number;
  connectivity: number;
  cases: {
    name: string;
    shape: [number, number, number];
    volume: string;
    expected: {
      range: number[];
      windows: [number, number, number | null][];
      accepted: boolean;
      slice: number;
      box: number[];
      point: number[];
      kept_voxels: number;
    };
  }[];
}

for (const label of [undefined, labelVoxelsByDfs]) {
  const how = label ? "voxel labels" : "the piece graph";
  Deno.test(`pcswMasks() agrees with the golden cases when it is as reported, by ${how}`, async () => {
    const fixture = await readFixture<PcswManifest>("sss_pcsw");
    strictEqual(reportedPcsw.tau, fixture.manifest.tau);
    strictEqual(reportedPcsw.connectivity, fixture.manifest.connectivity);
    ok(fixture.manifest.cases.length > 0);
    for (const { name, shape, volume, expected } of fixture.manifest.cases) {
      const mask = bytes(fixture, volume);
      const [result] = await pcswMasks([mask], shape, reportedPcsw, label ? { label } : {});
      const { shortest, first, longest } = windowRange(shape[0]);
      deepStrictEqual([shortest, first, longest], expected.range, name);
      deepStrictEqual(
        result.windows.map((w) => [w.length, w.start]),
        expected.windows.map((w) => [w[0], w[1]]),
      );
      result.windows.forEach(({ continuity }, i) => {
        const golden = expected.windows[i][2];
        if (golden === null || continuity === null) strictEqual(continuity, golden, name);
        else ok(Math.abs(continuity - golden) < 1e-12, `${name}: window ${i}`);
      });
      strictEqual(result.accepted, expected.accepted, name);
      strictEqual(result.slices.length, 1, name);
      strictEqual(result.slices[0].z, expected.slice, name);
      deepStrictEqual(result.slices[0].box, expected.box, name);
      result.slices[0].point.forEach((v, i) => ok(Math.abs(v - expected.point[i]) < 1e-9, name));
      strictEqual(result.keptMask.reduce((a, b) => a + b, 0), expected.kept_voxels, name);
      if (!expected.accepted) continue;
      const [length, start] = expected.windows.at(-1)!;
      const plane = shape[1] * shape[2];
      deepStrictEqual(
        result.keptMask.subarray(start * plane, (start + length) * plane),
        bytes(fixture, `${name}/kept`),
        name,
      );
    }
  });
}

Deno.test("sssConfig() gives the reported search when the mode is reported", () => {
  deepStrictEqual(pcswOptions(sssConfig({ pcsw: "reported" })), reportedPcsw);
});
