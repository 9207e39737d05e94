/**
 * Variables of the environment, and what else a process may not have been granted: a program that uses
 * the library is not asked for more than it has.
 */

const isGranted = (descriptor: Deno.PermissionDescriptor) =>
  Deno.permissions.querySync(descriptor).state === "granted";

/** A variable's value; `undefined` where it is not set, or not to be read. */
export function variable(name: string): string | undefined {
  return isGranted({ name: "env", variable: name }) ? Deno.env.get(name) : undefined;
}

/** Sets a variable that is not set, or is empty, where that is allowed. */
export function setDefault(name: string, value: string): void {
  if (isGranted({ name: "env", variable: name }) && !Deno.env.get(name)) Deno.env.set(name, value);
}

/** Bytes of the machine that are free; `undefined` where the process may not ask. */
export function freeBytes(): number | undefined {
  if (!isGranted({ name: "sys", kind: "systemMemoryInfo" })) return undefined;
  return Deno.systemMemoryInfo().available;
}

/** Whether a file may be read. */
export const mayRead = (path: string): boolean => isGranted({ name: "read", path });
