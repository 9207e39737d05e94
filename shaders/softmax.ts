/** Softmax and log-softmax along an axis, and their gradients. */
import type { AdapterProfile } from "../engine/device.ts";
import type { AxisView } from "../engine/shape.ts";
import type { Epilogue, Lowering } from "./kernel.ts";
import type { Width } from "./nan.ts";
import { type LineProgram, type LineReduction, lowerLines } from "./lines.ts";

/** What {@link lowerSoftmax} computes. The gradients read the result y and its gradient g. */
export type SoftmaxKind = "softmax" | "logSoftmax" | "softmaxBackward" | "logSoftmaxBackward";

const same = (total: string) => total;
const TOP: LineReduction = { name: "top", kind: "max", term: "x", finish: same };
const MASS: Omit<LineReduction, "finish"> = { name: "mass", kind: "sum", term: "exp(x - top)" };

/** A line without a finite maximum (it holds NaN or infinity, or -infinity alone) becomes NaN. */
const ifFinite = (value: string, width: Width) => `if_finite_${width}(top, ${value})`;
const FORWARD: LineProgram["inputs"] = [{ name: "x", kind: "element" }];
const BACKWARD: LineProgram["inputs"] = [
  { name: "y", kind: "element" },
  { name: "g", kind: "element" },
];

const PROGRAMS: Readonly<Record<SoftmaxKind, LineProgram>> = {
  softmax: {
    label: "softmax",
    inputs: FORWARD,
    reductions: [TOP, { ...MASS, finish: (total, width) => ifFinite(`1.0 / ${total}`, width) }],
    result: "exp(x - top) * mass",
  },
  logSoftmax: {
    label: "logSoftmax",
    inputs: FORWARD,
    reductions: [TOP, { ...MASS, finish: (total, width) => ifFinite(`log(${total})`, width) }],
    result: "(x - top) - mass",
  },
  softmaxBackward: {
    label: "softmaxBackward",
    inputs: BACKWARD,
    reductions: [{ name: "dotted", kind: "sum", term: "y * g", finish: same }],
    result: "y * (g - dotted)",
  },
  logSoftmaxBackward: {
    label: "logSoftmaxBackward",
    inputs: BACKWARD,
    reductions: [{ name: "total", kind: "sum", term: "g", finish: same }],
    result: "g - exp(y) * total",
  },
};

/** in0: x (forward) or y, in1: g (backward); out0: the result. All shaped as `view`. */
export function lowerSoftmax(
  kind: SoftmaxKind,
  view: AxisView,
  profile: AdapterProfile,
  epilogue?: Epilogue,
): Lowering {
  return lowerLines(PROGRAMS[kind], view, profile, epilogue);
}
