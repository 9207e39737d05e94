// Direct convolution for CPU adapters: one subgroup a workgroup. A lane owns four neighbouring output
// pixels of MR filters; lanes lie along the pixels. The lanes load the weights together, each another
// part, and hand them round by constant-lane broadcasts.
# const filters = [...Array(MR).keys()];
${bindings}

@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
# for (const statement of decode) {
  ${statement}
# }
  let filtersFirst = sizes.filtersFirst != 0u;
  let filterTile = select(place.y, place.x, filtersFirst);
  let pixelTile = select(place.x, place.y, filtersFirst);
# if (grouped) {
  let section = filterTile / sizes.filterTiles;
  let firstFilter = (filterTile - section * sizes.filterTiles) * ${MR}u;
  let firstChannel = section * sizes.groupFilters + firstFilter;
# } else {
  let firstFilter = filterTile * ${MR}u;
  let firstChannel = firstFilter;
# }
  let pixels = pixelTile * ${L}u + lane;
  let quad = min(pixels, sizes.quads - 1u);
  let line = ${divided("quad", "perRow")};
  let image = ${divided("line", "perImage")};
  let ox = (quad - line * sizes.quadsOfRow) * 4u;
  let oy = line - image * sizes.outHeight;
  let x0 = ox * ${stride[1]}u;
  let y0 = oy * ${stride[0]}u;
  let height = sizes.height;
  let width = sizes.width;
  let rowUnits = sizes.rowUnits;
  let planeUnits = sizes.planeUnits;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = image * sizes.imageUnits${grouped ? " + section * sizes.groupUnits" : ""} + x0 / ${row.unit}u;
  let packed = filterTile * sizes.packedStep${sharing ? " + lane" : ""};
# for (const r of filters) {
  var c${r} = vec4f();
# }
  for (var i = 0u; i < sizes.turns; i++) {
# for (let load = 0; load < weightLoads; load++) {
    let w${load} = weights[packed + i * ${turnTaps * MR / 4}u + ${load * (sharing || 1)}u];
# }
# for (let dy = 0; dy < turnRows; dy++) {
    let iy${dy} = y0 + ${looped ? "i % " + kernel[0] + "u + " : ""}${u32(dy - padding[0])};
    let row${dy} = plane + iy${dy} * rowUnits
      + i${looped ? " / " + kernel[0] + "u" : ""} * planeUnits;
#   for (const load of row.loads("v" + dy, "row" + dy, "iy" + dy + " < height")) {
    ${load}
#   }
#   for (let kx = 0; kx < kernel[1]; kx++) {
    let s${dy * kernel[1] + kx} = ${row.values("v" + dy, kx)};
#   }
# }
# for (let r0 = 0; r0 < MR; r0 += 4) for (let t = 0; t < turnTaps; t++) {
#   for (const r of filters.slice(r0, r0 + 4)) {
    c${r} += ${weight(t, r)} * s${t};
#   }
# }
  }
  let outWidth = sizes.outWidth;
  let outPixels = sizes.outPixels;
  let base = image * sizes.outImage + firstChannel * outPixels + oy * outWidth + ox;
  let end = select(0u, min(${MR}u, sizes.groupFilters - firstFilter), pixels < sizes.quads);
# if (storeLoop) {
  for (var r = 0u; r < end; r += ${storeTurn}u) {
#   for (const statement of bitsOfNumber("r", MR / storeTurn, storeTurn)) {
    ${statement}
#   }
#   for (let d = 0; d < storeTurn; d++) {
    let v${d} = ${numbered(filters.filter((r) => r % storeTurn === d).map((r) => "c" + r))};
    ${storeTurn > 1 ? "if (r + " + d + "u < end) " : ""}{
#     for (const store of stores("(r + " + d + "u)", "v" + d)) {
      ${store}
#     }
    }
#   }
  }
# } else {
#   for (const r of filters) {
  if (${r}u < end) {
#     for (const store of stores(r + "u", "c" + r)) {
    ${store}
#     }
  }
#   }
# }
}
