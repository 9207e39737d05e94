/** How kernels, which compute in f32, reach tensors that are stored as f16. */
import { withAccess } from "../../shaders/access.ts";
import type { Kernel } from "../../shaders/kernel.ts";
import type { DType } from "../dtype.ts";

/** A kernel that computes in f32 with bindings of the given types; `rounded` is f32 read as f16. */
export function storedAs(kernel: Kernel, types: readonly (DType | "rounded")[]): Kernel {
  const element = (type: DType | "rounded") =>
    type === "f16" || type === "rounded" ? { element: type } : undefined;
  const accessed = withAccess(kernel, types.map(element));
  const { source } = accessed;
  // Roundings within a kernel need the extension too.
  const lacks = /\bf16\b/.test(source) && !source.startsWith("enable f16;");
  return lacks ? { ...accessed, source: `enable f16;\n${source}` } : accessed;
}
