/** Adapters that bind less than this one. */
import { forgetPlans, runtime } from "../engine/mod.ts";

/** Runs `work` as on an adapter that binds at most `bytes`, and `bindings` at a time. */
export async function binding<T>(
  bytes: number,
  work: () => Promise<T>,
  bindings?: number,
): Promise<T> {
  const { device } = await runtime();
  const { profile } = device;
  const limited = { maxBindingBytes: bytes, maxBindings: bindings ?? profile.maxBindings };
  Object.assign(device, { profile: { ...profile, ...limited } });
  forgetPlans();
  try {
    return await work();
  } finally {
    Object.assign(device, { profile });
    forgetPlans();
  }
}
