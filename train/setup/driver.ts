/** A Vulkan driver for machines without one: installed where that is safe, else explained. */
import { UserError } from "../../engine/errors.ts";

/** What decides how a driver gets onto a machine. */
export interface Machine {
  readonly os: typeof Deno.build.os;
  /** Text of `/etc/os-release`; empty where there is none. */
  readonly osRelease: string;
  /** Whether packages may be installed. */
  readonly root: boolean;
}

/** The machine that this process runs on. */
export async function thisMachine(): Promise<Machine> {
  return {
    os: Deno.build.os,
    osRelease: await Deno.readTextFile("/etc/os-release").catch(() => ""),
    root: Deno.uid() === 0,
  };
}

/** Identifiers of a Linux distribution and of those it descends from. */
function families(osRelease: string): string[] {
  return [...osRelease.matchAll(/^ID(?:_LIKE)?="?([^"\n]*)"?$/gm)].flatMap(([, ids]) =>
    ids.split(/\s+/)
  );
}

function isDebian({ os, osRelease }: Machine): boolean {
  return os === "linux" && families(osRelease).some((id) => id === "debian" || id === "ubuntu");
}

/** Commands that install a software Vulkan driver, by family of distributions. */
const INSTALL: Readonly<Record<string, string>> = {
  debian: "sudo apt-get update && sudo apt-get install -y mesa-vulkan-drivers",
  ubuntu: "sudo apt-get update && sudo apt-get install -y mesa-vulkan-drivers",
  fedora: "sudo dnf install -y mesa-vulkan-drivers",
  rhel: "sudo dnf install -y mesa-vulkan-drivers",
  arch: "sudo pacman -S --needed vulkan-swrast",
  suse: "sudo zypper install -y libvulkan_lvp",
  opensuse: "sudo zypper install -y libvulkan_lvp",
};

/** What to do on this machine to get an adapter, in a sentence or two. */
export function remedy(machine: Machine): string {
  if (machine.os === "darwin") {
    return "WebGPU needs Metal here: run on macOS 11 or newer with a Metal GPU, outside of a virtual " +
      "machine that offers none.";
  }
  if (machine.os === "windows") {
    return "WebGPU needs DirectX 12 or Vulkan here: install the current driver of your GPU's maker, " +
      "then open a new terminal.";
  }
  const gpu = "For a GPU, install its maker's Vulkan driver instead.";
  const family = families(machine.osRelease).find((id) => Object.hasOwn(INSTALL, id));
  if (family) return `Run \`${INSTALL[family]}\`. ${gpu}`;
  return "Install a Vulkan driver with your system's package manager (Mesa's software driver is " +
    `called lavapipe). ${gpu}`;
}

const SCRIPT = `exec 2>&1
apt-get update -q
exec apt-get install -qy --no-install-recommends -o DPkg::Lock::Timeout=120 mesa-vulkan-drivers`;

/**
 * Installs Mesa's software Vulkan driver on Debian and its descendants, where this process may.
 *
 * @param say takes the announcement.
 * @throws {UserError} with the remedy, where this machine is another one or apt fails.
 */
export async function installDriver(
  machine: Machine,
  say: (line: string) => void,
): Promise<void> {
  const missing = "No WebGPU adapter was found on this machine.";
  if (!isDebian(machine) || !machine.root) throw new UserError(`${missing} ${remedy(machine)}`);
  say(`${missing} Installing mesa-vulkan-drivers, a software Vulkan driver, with apt-get …`);
  const { success, stdout } = await new Deno.Command("sh", {
    args: ["-c", SCRIPT],
    env: { DEBIAN_FRONTEND: "noninteractive" },
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).output();
  if (!success) {
    const last = new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1);
    throw new UserError(`apt-get failed: ${last}\n${remedy(machine)}`);
  }
  say("mesa-vulkan-drivers is installed; continuing in a new process, which sees the driver.");
}

/**
 * The drivers that Linux' Vulkan loader would look at, by the names of their manifests, and the
 * version of NVIDIA's kernel module; empty on other systems.
 */
export async function installedDrivers(): Promise<string[]> {
  if (Deno.build.os !== "linux") return [];
  const nvidia = await Deno.readTextFile("/proc/driver/nvidia/version").catch(() => "");
  const version = nvidia.match(/\d+\.\d+(\.\d+)?/)?.[0];
  const kernel = version ? [`NVIDIA kernel module ${version}`] : [];
  const chosen = Deno.env.get("VK_DRIVER_FILES") ?? Deno.env.get("VK_ICD_FILENAMES");
  if (chosen) return [...chosen.split(":"), ...kernel];
  const names: string[] = [];
  for (const folder of ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]) {
    const entries = await Array.fromAsync(Deno.readDir(folder)).catch(() => []);
    names.push(...entries.map(({ name }) => name));
  }
  return [...names.sort(), ...kernel];
}
