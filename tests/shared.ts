/** The folder of golden data and data sets, beside the project. */
const FOLDER = new URL("../../shared/", import.meta.url);

/** Path inside the shared folder. */
export function sharedPath(path: string): string {
  return decodeURIComponent(new URL(path, FOLDER).pathname);
}

/** True where the shared folder is there; tests that need it are ignored otherwise. */
export function hasShared(): boolean {
  try {
    return Deno.statSync(FOLDER).isDirectory;
  } catch {
    return false;
  }
}

/** Defines a test on shared data. Where the folder is absent its name says so and it is ignored. */
export function sharedTest(name: string, run: (t: Deno.TestContext) => void | Promise<void>): void {
  const present = hasShared();
  const fn = async (t: Deno.TestContext) => await run(t);
  Deno.test({ name: present ? name : `${name} (needs ../shared)`, ignore: !present, fn });
}
