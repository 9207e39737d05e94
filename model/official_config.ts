/** Reads the official YAML configurations of SAM-2, given as JSON values. */
import { UserError } from "../engine/errors.ts";
import { MASK_DECODER, type MaskDecoderConfig, type Sam2Config } from "./config.ts";

/** A dictionary of the configuration with its path, for errors. */
class Section {
  private readonly record: Readonly<Record<string, unknown>>;

  constructor(value: unknown, private readonly path: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new UserError(`The model configuration lacks the section ${path}.`);
    }
    this.record = value as Record<string, unknown>;
  }

  section(name: string): Section {
    return new Section(this.record[name], this.at(name));
  }

  optionalSection(name: string): Section {
    return new Section(this.record[name] ?? {}, this.at(name));
  }

  number(name: string, preset?: number): number {
    const value = this.record[name] ?? preset;
    if (typeof value !== "number") throw this.wrong(name, "a number");
    return value;
  }

  boolean(name: string, preset: boolean): boolean {
    const value = this.record[name] ?? preset;
    if (typeof value !== "boolean") throw this.wrong(name, "true or false");
    return value;
  }

  numbers(name: string, preset?: readonly number[]): readonly number[] {
    const value = this.record[name] ?? preset;
    if (!Array.isArray(value) || value.some((v) => typeof v !== "number")) {
      throw this.wrong(name, "a list of numbers");
    }
    return value as number[];
  }

  /** Refuses a switch whose other position this implementation does not have. */
  require(name: string, wanted: unknown, preset: unknown): void {
    const value = this.record[name] ?? preset;
    if (value !== wanted) {
      throw new UserError(
        `The model configuration sets ${this.at(name)} to ${value}; only ${wanted} is supported.`,
      );
    }
  }

  private at(name: string): string {
    return this.path === "" ? name : `${this.path}.${name}`;
  }

  private wrong(name: string, wanted: string): UserError {
    const value = JSON.stringify(this.record[name]);
    return new UserError(
      `The model configuration gives ${this.at(name)} as ${value}, not ${wanted}.`,
    );
  }
}

/** Switches that every published configuration sets alike. */
function requireSupported(root: Section): void {
  root.require("use_high_res_features_in_sam", true, false);
  root.require("use_obj_ptrs_in_encoder", true, false);
  root.require("directly_add_no_mem_embed", true, false);
  root.require("pred_obj_scores", true, false);
  root.require("fixed_no_obj_ptr", true, false);
  root.require("use_mlp_for_obj_ptr_proj", true, false);
  const attention = root.section("memory_attention");
  attention.require("pos_enc_at_input", true, true);
  const layer = attention.section("layer");
  layer.require("activation", "relu", "relu");
  layer.require("pos_enc_at_attn", false, undefined);
  layer.require("pos_enc_at_cross_attn_keys", true, undefined);
  layer.require("pos_enc_at_cross_attn_queries", false, undefined);
  for (const name of ["self_attention", "cross_attention"]) {
    layer.section(name).require("num_heads", 1, undefined);
    layer.section(name).require("downsample_rate", 1, 1);
  }
  const downsampler = root.section("memory_encoder").section("mask_downsampler");
  downsampler.require("kernel_size", 3, 4);
  downsampler.require("stride", 2, 4);
  downsampler.require("padding", 1, 0);
  root.section("image_encoder").section("neck").require("fpn_interp_model", "nearest", "bilinear");
}

function readMaskDecoder(root: Section): MaskDecoderConfig {
  const extra = root.optionalSection("sam_mask_decoder_extra_args");
  return {
    ...MASK_DECODER,
    iouPredictionUseSigmoid: root.boolean("iou_prediction_use_sigmoid", false),
    predObjScoresMlp: root.boolean("pred_obj_scores_mlp", false),
    useMultimaskTokenForObjPtr: root.boolean("use_multimask_token_for_obj_ptr", false),
    dynamicMultimaskViaStability: extra.boolean("dynamic_multimask_via_stability", false),
    dynamicMultimaskStabilityDelta: extra.number("dynamic_multimask_stability_delta", 0.05),
    dynamicMultimaskStabilityThresh: extra.number("dynamic_multimask_stability_thresh", 0.98),
  };
}

function readTrunk(trunk: Section): Sam2Config["trunk"] {
  const [height, width] = trunk.numbers("window_pos_embed_bkg_spatial_size", [14, 14]);
  return {
    embedDim: trunk.number("embed_dim", 96),
    numHeads: trunk.number("num_heads", 1),
    stages: trunk.numbers("stages", [2, 3, 16, 3]),
    windowSpec: trunk.numbers("window_spec", [8, 4, 14, 7]),
    globalAttBlocks: trunk.numbers("global_att_blocks", [12, 16, 20]),
    posEmbedSize: [height, width],
  };
}

/**
 * Reads a configuration of the official class `SAM2Base`, with its defaults.
 *
 * @param json the official YAML as JSON values; further constructor arguments (such as
 * `binarize_mask_from_pts_for_mem_enc` or `sam_mask_decoder_extra_args`) may be merged into it.
 * @throws {UserError} for a missing or ill-typed value, and for switches that are not supported.
 */
export function readOfficialConfig(json: unknown): Sam2Config {
  const root = new Section(json, "");
  requireSupported(root);
  const encoder = root.section("image_encoder");
  const neck = encoder.section("neck");
  const attention = root.section("memory_attention");
  const memoryEncoder = root.section("memory_encoder");
  const addTpos = root.boolean("add_tpos_enc_to_obj_ptrs", true);
  if (addTpos) root.require("proj_tpos_enc_in_obj_ptrs", true, false);
  return {
    imageSize: root.number("image_size", 512),
    dModel: neck.number("d_model"),
    trunk: readTrunk(encoder.section("trunk")),
    fpnTopDownLevels: neck.numbers("fpn_top_down_levels", [0, 1, 2, 3]),
    scalp: encoder.number("scalp", 0),
    memoryAttention: {
      numLayers: attention.number("num_layers"),
      dimFeedforward: attention.section("layer").number("dim_feedforward"),
      dropout: attention.section("layer").number("dropout"),
      ropeTheta: attention.section("layer").section("self_attention").number("rope_theta", 10000),
    },
    memDim: memoryEncoder.number("out_dim"),
    fuserLayers: memoryEncoder.section("fuser").number("num_layers"),
    maskInChans: 16,
    maskDecoder: readMaskDecoder(root),
    numMaskmem: root.number("num_maskmem", 7),
    maxCondFramesInAttn: root.number("max_cond_frames_in_attn", -1),
    memoryTemporalStrideForEval: root.number("memory_temporal_stride_for_eval", 1),
    sigmoidScaleForMemEnc: root.number("sigmoid_scale_for_mem_enc", 1),
    sigmoidBiasForMemEnc: root.number("sigmoid_bias_for_mem_enc", 0),
    binarizeMaskFromPtsForMemEnc: root.boolean("binarize_mask_from_pts_for_mem_enc", false),
    nonOverlapMasksForMemEnc: root.boolean("non_overlap_masks_for_mem_enc", false),
    useMaskInputAsOutputWithoutSam: root.boolean("use_mask_input_as_output_without_sam", false),
    noObjEmbedSpatial: root.boolean("no_obj_embed_spatial", false),
    multimaskOutputInSam: root.boolean("multimask_output_in_sam", false),
    multimaskOutputForTracking: root.boolean("multimask_output_for_tracking", false),
    multimaskMinPtNum: root.number("multimask_min_pt_num", 1),
    multimaskMaxPtNum: root.number("multimask_max_pt_num", 1),
    maxObjPtrsInEncoder: root.number("max_obj_ptrs_in_encoder", 16),
    addTposEncToObjPtrs: addTpos,
    useSignedTposEncToObjPtrs: root.boolean("use_signed_tpos_enc_to_obj_ptrs", false),
    onlyObjPtrsInThePastForEval: root.boolean("only_obj_ptrs_in_the_past_for_eval", false),
    softNoObjPtr: root.boolean("soft_no_obj_ptr", false),
  };
}
