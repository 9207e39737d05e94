/**
 * Runs a command module (`run(args): Promise<exit code>`) on a machine that has a WebGPU adapter, or
 * gets one first where the command needs it:
 * `deno run -A train/launch.ts <module, from the project's folder> <arguments>`.
 */
import { debugLevel } from "../engine/debug.ts";
import { findAdapter } from "../engine/device.ts";
import { isUserError, UserError } from "../engine/errors.ts";
import { installDriver, type Machine, thisMachine } from "./setup/driver.ts";
import { runDeno } from "./setup/process.ts";

/** Set in the process that continues after an installation: a second one would not help. */
const INSTALLED = "SAM2_DRIVER_INSTALLED";

interface CommandModule {
  run(args: string[]): Promise<number>;
  /** False for commands that compute nothing on the adapter. */
  readonly needsAdapter?: boolean;
}

/**
 * Runs `module` with `args`; installs a driver before where no adapter is found.
 *
 * @returns the exit code.
 * @throws {UserError} where there is no adapter and none can be had.
 */
export async function launch(
  module: string,
  args: string[],
  machine?: Machine,
): Promise<number> {
  const url = new URL(module, new URL("../", import.meta.url)).href;
  const { run, needsAdapter = true } = await import(url) as CommandModule;
  const helps = args.includes("--help") || args.includes("-h");
  if (needsAdapter && !helps && !(await findAdapter())) {
    if (Deno.env.get(INSTALLED)) {
      throw new UserError(
        "mesa-vulkan-drivers is installed, yet WebGPU still finds no adapter: see that none of " +
          "VK_DRIVER_FILES, VK_ICD_FILENAMES and DENO_WEBGPU_BACKEND points elsewhere.",
      );
    }
    await installDriver(machine ?? await thisMachine(), (line) => console.error(line));
    // Drivers are listed once a process, so only a new one can see what has just been installed.
    return await runDeno(["run", "-A", import.meta.url, module, ...args], { [INSTALLED]: "1" });
  }
  return await run(args);
}

/** Runs `work`; what a user can mend is printed as a sentence, a defect with its stack trace. */
export async function exitCode(work: () => Promise<number>, args: string[]): Promise<number> {
  try {
    return await work();
  } catch (error) {
    const trace = args.includes("--trace") || debugLevel() > 0;
    console.error(isUserError(error) && !trace ? error.message : error);
    return 1;
  }
}

if (import.meta.main) {
  const [module, ...args] = Deno.args;
  Deno.exit(await exitCode(() => launch(module, args), args));
}
