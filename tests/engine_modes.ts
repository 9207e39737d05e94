/** Runs work as on another adapter, or in another mode of the engine. */
import {
  type AdapterProfile,
  forgetPlans,
  type MemoryLimits,
  type Runtime,
  runtime,
  useFusion,
  useSchedule,
} from "../engine/mod.ts";

/** With the kernel schedules of an adapter class. */
export async function onSchedule<T>(schedule: string, work: () => T | Promise<T>): Promise<T> {
  useSchedule(schedule);
  try {
    return await work();
  } finally {
    useSchedule(undefined);
  }
}

/** With each op in kernels of its own. */
export async function unfused<T>(work: () => T | Promise<T>): Promise<T> {
  useFusion(false);
  try {
    return await work();
  } finally {
    useFusion(true);
  }
}

/** On an adapter that differs from this machine's; plans are made anew, then and afterwards. */
export async function onAdapter<T>(
  changes: Partial<AdapterProfile>,
  work: () => Promise<T>,
): Promise<T> {
  const { device } = await runtime();
  const { profile } = device;
  Object.assign(device, { profile: { ...profile, ...changes } });
  await forgetPlans();
  try {
    return await work();
  } finally {
    Object.assign(device, { profile });
    await forgetPlans();
  }
}

/** On an adapter that binds at most `bytes`, and `bindings` at a time. */
export function binding<T>(
  bytes: number,
  work: () => Promise<T>,
  bindings?: number,
): Promise<T> {
  const limits = { maxBindingBytes: bytes, ...bindings !== undefined && { maxBindings: bindings } };
  return onAdapter(limits, work);
}

/** On a device that may hold less than it could. */
export async function withMemory<T>(
  limits: Partial<MemoryLimits>,
  work: (rt: Runtime) => Promise<T>,
): Promise<T> {
  const rt = await runtime();
  const own = rt.limits;
  rt.limits = { ...own, ...limits };
  try {
    return await work(rt);
  } finally {
    rt.limits = own;
  }
}
