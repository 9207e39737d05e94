// Direct convolution for CPU adapters: one subgroup a workgroup. A lane owns four neighbouring output
// pixels of MR filters; lanes lie along the pixels. The lanes load the weights together, each another
// part, and hand them round by constant-lane broadcasts.
# const filters = [...Array(MR).keys()];
${bindings}

@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let filterTile = ${filterTile};
  let section = filterTile / ${filterTiles}u;
  let firstFilter = filterTile % ${filterTiles}u * ${MR}u;
  let pixels = ${pixelTile} * ${L}u + lane;
  let quad = min(pixels, ${quads - 1}u);
  let ox = quad % ${quadsOfRow}u * 4u;
  let oy = quad / ${quadsOfRow}u % ${sizes.outHeight}u;
  let image = quad / ${quadsOfRow * sizes.outHeight}u;
  let x0 = ox * ${shape.stride[1]}u;
  let y0 = oy * ${shape.stride[0]}u;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = (image * ${shape.channels}u + section * ${sizes.groupChannels}u)
    * ${sizes.inPixels / row.unit}u + x0 / ${row.unit}u;
  let packed = filterTile * ${sizes.groupChannels * sizes.taps * MR / 4}u${sharing ? " + lane" : ""};
# for (const r of filters) {
  var c${r} = vec4f();
# }
  for (var i = 0u; i < ${turns}u; i++) {
# for (let load = 0; load < weightLoads; load++) {
    let w${load} = weights[packed + i * ${turnTaps * MR / 4}u + ${load * (sharing || 1)}u];
# }
# for (let dy = 0; dy < turnRows; dy++) {
    let iy${dy} = y0 + ${looped ? "i % " + shape.kernel[0] + "u + " : ""}${u32(dy - shape.padding[0])};
    let row${dy} = plane + iy${dy} * ${shape.width / row.unit}u
      + i${looped ? " / " + shape.kernel[0] + "u" : ""} * ${sizes.inPixels / row.unit}u;
#   for (const load of row.loads("v" + dy, "row" + dy, "iy" + dy + " < " + shape.height + "u")) {
    ${load}
#   }
#   for (let kx = 0; kx < shape.kernel[1]; kx++) {
    let s${dy * shape.kernel[1] + kx} = ${row.values("v" + dy, kx)};
#   }
# }
# for (let r0 = 0; r0 < MR; r0 += 4) for (let t = 0; t < turnTaps; t++) {
#   for (const r of filters.slice(r0, r0 + 4)) {
    c${r} += ${weight(t, r)} * s${t};
#   }
# }
  }
  let base = ((image * ${shape.filters}u + section * ${sizes.groupFilters}u + firstFilter)
    * ${sizes.outHeight}u + oy) * ${sizes.outWidth}u + ox;
# if (storeLoop) {
  var sums = array<vec4f, ${MR}>(${filters.map((r) => "c" + r).join(", ")});
  for (var r = 0u; r < ${MR}u; r++) {
#   for (const store of stores("r", "sums[r]")) {
    ${store}
#   }
  }
# } else {
#   for (const r of filters) for (const store of stores(r + "u", "c" + r)) {
  ${store}
#   }
# }
}
