/** What a program may do with the library that was granted nothing. */
import { deepStrictEqual as deepEqual } from "node:assert/strict";
import { withFolder } from "./temporary_folder.ts";

const ROOT = new URL("../", import.meta.url);

const PROGRAM = `
import { add, Conv2d, FlatParameters, gradients, mean, read, submit, tensor } from "ROOTmod.ts";
const x = tensor(Float32Array.of(1, 2, 3, 4), [1, 1, 2, 2]);
const net = new Conv2d(1, 2, 1);
const weights = await FlatParameters.create(net);
const write = weights.gradientTargets(gradients(mean(net.forward(x)), weights.trainable));
await submit({ write });
console.log((await read(add(x, 1))).join());
`;

Deno.test("mod.ts computes without permissions, and asks for none", () =>
  withFolder(async (folder) => {
    const path = `${folder}/program.ts`;
    await Deno.writeTextFile(path, PROGRAM.replace("ROOT", ROOT.href));
    const config = new URL("deno.json", ROOT).pathname;
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--config", config, path],
      stdin: "null",
      // Mesa asks for it in each process where it is unset.
      env: { XDG_RUNTIME_DIR: folder },
    }).output();
    const text = new TextDecoder();
    deepEqual([code, text.decode(stdout), text.decode(stderr)], [0, "2,3,4,5\n", ""]);
  }));
