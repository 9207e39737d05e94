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
  let oy = quad / ${quadsOfRow}u % ${outHeight}u;
  let image = quad / ${quadsOfRow * outHeight}u;
  let x0 = ox * ${strideX}u;
  let y0 = oy * ${strideY}u;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = (image * ${channels}u + section * ${groupChannels}u) * ${plane}u + x0 / ${row.unit}u;
  let packed = filterTile * ${groupChannels * taps * MR / 4}u${sharing ? " + lane" : ""};
# for (const r of filters) {
  var c${r} = vec4f();
# }
  for (var i = 0u; i < ${turns}u; i++) {
# for (let load = 0; load < weightLoads; load++) {
    let w${load} = weights[packed + i * ${turnTaps * MR / 4}u + ${load * (sharing || 1)}u];
# }
# for (let dy = 0; dy < turnRows; dy++) {
    let iy${dy} = y0 + ${looped ? "i % " + kernelHeight + "u + " : ""}${u32(dy - paddingY)};
    let row${dy} = plane + i${looped ? " / " + kernelHeight + "u" : ""} * ${plane}u + iy${dy} * ${rowUnits}u;
#   for (const load of row.loads("v" + dy, "row" + dy, "iy" + dy + " < " + height + "u")) {
    ${load}
#   }
#   for (let kx = 0; kx < kernelWidth; kx++) {
    let s${dy * kernelWidth + kx} = ${row.values("v" + dy, kx)};
#   }
# }
# for (let r0 = 0; r0 < MR; r0 += 4) for (let t = 0; t < turnTaps; t++) {
#   for (const r of filters.slice(r0, r0 + 4)) {
    c${r} += ${weight(t, r)} * s${t};
#   }
# }
  }
  let base = ((image * ${allFilters}u + section * ${groupFilters}u + firstFilter) * ${outHeight}u + oy)
    * ${outWidth}u + ox;
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
