import { match, strictEqual as equal } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { device } from "../engine/device.ts";

async function doctor(...args: string[]): Promise<[number, string]> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      fileURLToPath(new URL("../train/launch.ts", import.meta.url)),
      "train/commands/doctor.ts",
      ...args,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  return [code, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr)];
}

Deno.test("doctor shows adapter, limits and schedules when it runs", async () => {
  const { name, profile } = await device();
  const [code, text] = await doctor();
  equal(code, 0, text);
  const value = (key: string) => text.match(new RegExp(`^  ${key} {2,}(.*)$`, "m"))?.[1];
  equal(value("name"), name);
  match(value("class") ?? "", new RegExp(`^${profile.class} `));
  equal(/\bshader-f16\b/.test(value("features") ?? ""), profile.f16);
  equal(/\bshader-f16\b/.test(value("offered, unused") ?? ""), false);
  match(value("lanes") ?? "", new RegExp(`^${profile.lanes}( |$)`));
  match(value("maxBufferSize") ?? "", /^[\d.]+ [KMG]iB$/);
  const schedules = text.split("\nSchedules\n")[1].trimEnd().split("\n");
  equal(schedules.length, 5);
  for (const line of schedules) match(line, /\[\d+, \d+, \d+\]$/);
});

Deno.test("doctor prints one sentence when an option is unknown", async () => {
  const [code, text] = await doctor("--verbose");
  equal(code, 1);
  equal(
    text.trimEnd(),
    "Unknown option '--verbose'; `deno task doctor --help` lists the options.",
  );
});
