/** The runner of each kind of fixture. */
import type { Runner } from "../kind.ts";
import { runAdamW } from "./adamw.ts";
import { runAuto, runSmallRegions } from "./auto.ts";
import { runDfe } from "./dfe.ts";
import { runEncodeMemory } from "./encode_memory.ts";
import { runGradients } from "./grads.ts";
import {
  runEncoder,
  runEndToEnd,
  runMaskDecoder,
  runMemoryAttention,
  runMemoryEncoder,
  runPromptEncoder,
} from "./image.ts";
import { runMemoryBank } from "./memory_bank.ts";
import { runMetrics } from "./metrics.ts";
import { runOps } from "./ops.ts";
import { runPcsw } from "./pcsw.ts";
import { runPredict } from "./predict.ts";
import { runResize } from "./resize.ts";
import { runTrack } from "./track.ts";
import { runVideo } from "./video.ts";

/** Runners by kind. */
export const RUNNERS: Readonly<Record<string, Runner>> = {
  adamw: runAdamW,
  auto: runAuto,
  auto_small_regions: runSmallRegions,
  dfe: runDfe,
  e2e: runEndToEnd,
  encode_memory: runEncodeMemory,
  encoder: runEncoder,
  grads: runGradients,
  mask_decoder: runMaskDecoder,
  memory_attention: runMemoryAttention,
  memory_bank: runMemoryBank,
  memory_encoder: runMemoryEncoder,
  metrics: runMetrics,
  ops: runOps,
  pcsw: runPcsw,
  predict: runPredict,
  prompt_encoder: runPromptEncoder,
  resize_pil: runResize,
  track: runTrack,
  video: runVideo,
};

/** The kind that a manifest names, else the known kind with which the fixture's name begins. */
export function kindOf(declared: string | undefined, name: string): string | undefined {
  if (declared !== undefined) return declared;
  return Object.keys(RUNNERS).filter((kind) => name === kind || name.startsWith(`${kind}_`))
    .sort((a, b) => b.length - a.length)[0];
}
