import {
  deepStrictEqual as deepEqual,
  doesNotMatch,
  match,
  ok,
  strictEqual as equal,
} from "node:assert/strict";
import { join } from "node:path";
import { remedy } from "../train/setup/driver.ts";

const LAUNCH = new URL("../train/launch.ts", import.meta.url).href;
const DEBIAN = 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\n';
const UBUNTU_CHILD = "ID=linuxmint\nID_LIKE='ubuntu debian'\n".replaceAll("'", '"');

interface Result {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The arguments of each call of `apt-get`. */
  readonly calls: string[];
}

interface Scene {
  /** Shell lines of the `apt-get` on PATH; `$1` is its subcommand. */
  readonly apt: string;
  readonly osRelease?: string;
  readonly root?: boolean;
  readonly env?: Record<string, string>;
  readonly args?: string[];
}

/** A command module that says what it got, then ends with code 5. */
const PROBE = `export function run(args) {
  console.log("probe", Deno.pid, JSON.stringify(args));
  return Promise.resolve(5);
}`;

/**
 * Launches the probe in a process whose Vulkan loader looks for drivers in an empty folder, as on a
 * machine without any. The stub may fill `$DRIVERS` from `$FOUND`.
 */
async function launchWithoutDriver(scene: Scene): Promise<Result> {
  const folder = await Deno.makeTempDir();
  try {
    const drivers = join(folder, "drivers");
    await Deno.mkdir(drivers);
    const aptGet = join(folder, "apt-get");
    await Deno.writeTextFile(aptGet, `#!/bin/sh\necho "$@" >> "${folder}/calls"\n${scene.apt}\n`);
    await Deno.chmod(aptGet, 0o755);
    const probe = join(folder, "probe.js");
    await Deno.writeTextFile(probe, PROBE);
    const machine = {
      os: "linux",
      osRelease: scene.osRelease ?? DEBIAN,
      root: scene.root ?? true,
    };
    const program = `import { exitCode, launch } from ${JSON.stringify(LAUNCH)};
      const args = ${JSON.stringify(scene.args ?? ["--data", "a b"])};
      console.log("first", Deno.pid);
      Deno.exit(await exitCode(() =>
        launch(${JSON.stringify(`file://${probe}`)}, args, ${JSON.stringify(machine)}), args));`;
    const found = (await manifests()).map((path) => [path, join(drivers, path.split("/").at(-1)!)]);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", program],
      env: {
        PATH: `${folder}:${Deno.env.get("PATH")}`,
        VK_DRIVER_FILES: found.map(([, copy]) => copy).join(":") || join(drivers, "none.json"),
        VK_ICD_FILENAMES: found.map(([, copy]) => copy).join(":") || join(drivers, "none.json"),
        FOUND: found.map(([path]) => path).join(" "),
        DRIVERS: drivers,
        NO_COLOR: "1",
        // Set where the tests themselves run after an installation, or with a trace.
        SAM2_DRIVER_INSTALLED: "",
        DEBUG: "",
        ...scene.env,
      },
    }).output();
    const calls = await Deno.readTextFile(join(folder, "calls")).catch(() => "");
    const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
    return { code, out, err, calls: calls.split("\n").filter(Boolean) };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The manifests of the Vulkan drivers that this machine has. */
async function manifests(): Promise<string[]> {
  const paths: string[] = [];
  for (const folder of ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]) {
    for await (const { name } of readFolder(folder)) {
      if (name.endsWith(".json")) paths.push(join(folder, name));
    }
  }
  return paths;
}

async function* readFolder(folder: string): AsyncIterable<Deno.DirEntry> {
  try {
    yield* Deno.readDir(folder);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

const ignore = Deno.build.os !== "linux";
const where = ignore ? " (ignored: the set-up installs packages on Linux only)" : "";

Deno.test({
  name: "launch() installs the driver and continues in a new process when none is found" + where,
  ignore,
  fn: async () => {
    const apt = 'if [ "$1" = install ]; then cp $FOUND "$DRIVERS"; fi; echo "noise of apt"';
    const { code, out, err, calls } = await launchWithoutDriver({ apt });
    equal(code, 5, err);
    const first = out.match(/^first (\d+)$/m)?.[1];
    const probe = out.match(/^probe (\d+) (.*)$/m);
    ok(first && probe && first !== probe[1], out);
    equal(probe[2], '["--data","a b"]');
    equal(calls.length, 2);
    match(calls[0], /^update/);
    match(calls[1], /^install .*\bmesa-vulkan-drivers$/);
    match(err, /^No WebGPU adapter was found .* Installing mesa-vulkan-drivers/);
    ok(!err.includes("noise of apt"), err);
  },
});

Deno.test({
  name: "launch() installs when the distribution descends from Ubuntu and update fails" + where,
  ignore,
  fn: async () => {
    const apt = '[ "$1" = install ] && cp $FOUND "$DRIVERS"';
    const { code, err } = await launchWithoutDriver({ apt, osRelease: UBUNTU_CHILD });
    equal(code, 5, err);
  },
});

Deno.test({
  name: "launch() prints the last line of apt-get and the remedy when it fails" + where,
  ignore,
  fn: async () => {
    const apt = 'echo "Reading package lists..."; echo "E: Unable to locate package" >&2; exit 100';
    const { code, out, err } = await launchWithoutDriver({ apt });
    equal(code, 1);
    ok(!out.includes("probe"), out);
    const lines = err.trimEnd().split("\n").slice(1);
    deepEqual(lines, [
      "apt-get failed: E: Unable to locate package",
      remedy({ os: "linux", osRelease: DEBIAN, root: true }),
    ]);
  },
});

Deno.test({
  name: "launch() gives up in a sentence when no adapter is found after the installation" + where,
  ignore,
  fn: async () => {
    const { code, err, calls } = await launchWithoutDriver({ apt: "exit 0" });
    equal(code, 1);
    equal(calls.length, 2, "installed once");
    match(err, /^mesa-vulkan-drivers is installed, yet WebGPU still finds no adapter: .*\.$/m);
    ok(!/^\s+at /m.test(err), err);
  },
});

for (
  const [reason, scene, command] of [
    ["the user is not root", { root: false }, "sudo apt-get install -y mesa-vulkan-drivers"],
    ["it is no Debian", { osRelease: "ID=fedora\n" }, "sudo dnf install -y mesa-vulkan-drivers"],
    ["the system is unknown", { osRelease: "" }, "Install a Vulkan driver with your system's"],
  ] as const
) {
  Deno.test({
    name: `launch() prints the remedy and touches nothing when ${reason}${where}`,
    ignore,
    fn: async () => {
      const { code, out, err, calls } = await launchWithoutDriver({ apt: "exit 0", ...scene });
      equal(code, 1);
      deepEqual(calls, []);
      ok(!out.includes("probe"), out);
      ok(err.startsWith("No WebGPU adapter was found on this machine. "), err);
      ok(err.includes(command), err);
      equal(err.trimEnd().split("\n").length, 1);
    },
  });
}

Deno.test({
  name: "launch() prints the stack trace when --trace or DEBUG asks for it" + where,
  ignore,
  fn: async () => {
    const scene = { apt: "exit 0", root: false };
    for (const extra of [{ args: ["--trace"] }, { env: { DEBUG: "1" } }]) {
      const { code, err } = await launchWithoutDriver({ ...scene, ...extra });
      equal(code, 1);
      match(err, /UserError: No WebGPU adapter[^]*\n\s+at .*driver\.ts/);
    }
    const { err } = await launchWithoutDriver({ ...scene, env: { DEBUG: "0" } });
    match(err, /^No WebGPU adapter/);
    doesNotMatch(err, /\n\s+at /);
  },
});

Deno.test({
  name: "launch() runs the command without an adapter when only --help is asked for" + where,
  ignore,
  fn: async () => {
    const { code, calls } = await launchWithoutDriver({ apt: "exit 0", args: ["--help"] });
    equal(code, 5);
    deepEqual(calls, []);
  },
});

Deno.test("remedy() names what to do when the system is macOS, Windows or Arch", () => {
  const at = (os: typeof Deno.build.os, osRelease = "") => remedy({ os, osRelease, root: false });
  match(at("darwin"), /Metal/);
  match(at("windows"), /DirectX 12/);
  match(at("linux", "ID=endeavouros\nID_LIKE=arch\n"), /`sudo pacman -S --needed vulkan-swrast`/);
  match(at("linux", 'ID=rocky\nID_LIKE="rhel centos fedora"\n'), /`sudo dnf install/);
  match(at("linux", 'ID=opensuse-leap\nID_LIKE="suse opensuse"\n'), /`sudo zypper install/);
});
