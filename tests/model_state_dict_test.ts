/** The state dicts of all configurations, compared with those of the official constructors. */
import { deepStrictEqual as deepEqual, ok, strictEqual as equal, throws } from "node:assert/strict";
import { type ConfigName, CONFIGS } from "../model/config.ts";
import { readOfficialConfig } from "../model/official_config.ts";
import { Sam2 } from "../model/sam2/sam2.ts";
import { sharedPath, sharedTest } from "./shared.ts";

async function golden(name: string): Promise<unknown> {
  return JSON.parse(await Deno.readTextFile(sharedPath(`golden/${name}`)));
}

interface OfficialState {
  readonly num_parameters: number;
  readonly buffers: readonly string[];
  readonly keys: readonly (readonly [key: string, shape: readonly number[], dtype: string])[];
}

const official = Object.keys(CONFIGS).filter((name) => name !== "nano") as ConfigName[];

for (const name of official) {
  sharedTest(`Sam2 has the official keys and shapes in order when built as ${name}`, async () => {
    const states = await golden("state_dict_keys.json") as Record<ConfigName, OfficialState>;
    const { keys, buffers, num_parameters } = states[name];
    const named = new Sam2(CONFIGS[name]).namedParameters();
    deepEqual(
      named.map(([key, { shape }]) => [key, shape]),
      keys.map(([key, shape]) => [key, shape]),
    );
    const trainable = named.filter(([, parameter]) => parameter.trainable);
    equal(trainable.reduce((n, [, { size }]) => n + size, 0), num_parameters);
    deepEqual(
      named.filter(([, parameter]) => !parameter.trainable).map(([key]) => key),
      buffers,
    );
  });
}

for (const fixture of ["tiny", "tiny20"]) {
  sharedTest(
    `Sam2 has the fixture's keys and order when built from config_${fixture}.json`,
    async () => {
      const config = readOfficialConfig(await golden(`config_${fixture}.json`));
      const { tensors, parameters_in_optimizer_order } = await golden(`params_${fixture}.json`) as {
        tensors: readonly (readonly [string, readonly number[]])[];
        parameters_in_optimizer_order: readonly string[];
      };
      const named = new Sam2(config).namedParameters();
      deepEqual(
        named.map(([key, { shape }]) => [key, shape]),
        tensors.map(([key, shape]) => [key, shape]),
      );
      deepEqual(
        named.filter(([, { trainable }]) => trainable).map(([key]) => key),
        parameters_in_optimizer_order,
      );
    },
  );
}

Deno.test("Sam2 allocates no values when the largest model is built", () => {
  const before = Deno.memoryUsage().external;
  const named = new Sam2(CONFIGS["sam2.1_hiera_l"]).namedParameters();
  ok(named.every(([, parameter]) => !parameter.host && !parameter.storage));
  ok(Deno.memoryUsage().external - before < 1 << 20);
});

Deno.test("Sam2 has every module of SAM 2.1 when built as nano", () => {
  const modules = (name: ConfigName) => {
    const keys = new Sam2(CONFIGS[name]).namedParameters().map(([key]) => key);
    // Numbers of blocks and layers differ; everything else is shared.
    return [...new Set(keys.map((key) => key.replace(/\.(blocks|layers)\.\d+\./, ".$1.*.")))];
  };
  deepEqual(modules("nano"), modules("sam2.1_hiera_t"));
});

sharedTest(
  "readOfficialConfig() fails with the name of a switch that is not supported",
  async () => {
    const json = await golden("config_tiny.json") as Record<string, unknown>;
    throws(
      () => readOfficialConfig({ ...json, directly_add_no_mem_embed: false }),
      /directly_add_no_mem_embed to false; only true is supported/,
    );
    throws(
      () => readOfficialConfig({ ...json, num_maskmem: "7" }),
      /num_maskmem as "7", not a number/,
    );
    throws(() => readOfficialConfig({ image_size: 64 }), /use_high_res_features_in_sam/);
  },
);
