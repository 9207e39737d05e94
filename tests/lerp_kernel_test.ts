import { lowerLerp } from "../shaders/lerp.ts";
import { close, values } from "./close.ts";
import { thenCopy } from "./in_place.ts";
import { deviceFor, runLowering, SCHEDULES } from "./kernel_harness.ts";

for (const schedule of SCHEDULES) {
  Deno.test(`lowerLerp() moves the average when run on ${schedule}`, async () => {
    const device = await deviceFor(schedule);
    for (const [count, decay] of [[1, 0.5], [33, 0], [260, 0.996]]) {
      const [average, next] = [values(count, 1), values(count, 2)];
      const lowering = thenCopy(lowerLerp(count, device.profile), [0], count);
      const inputs = [average, next, Float32Array.of(decay)];
      const [out] = await runLowering(device, lowering, inputs, [count]);
      const expected = average.map((value, i) => value * decay + next[i] * (1 - decay));
      close(out, expected, 1e-6, `${count} values, decay ${decay}`);
    }
  });
}
