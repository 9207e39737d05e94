// Gradient of convolution weights: a lane owns one kernel row of one channel (all its columns) for MR
// filters, and passes along the output rows, four pixels at a time. Parts of the output rows go to
// different workgroups, whose sums another dispatch adds up.
# const filters = [...Array(MR).keys()];
# const columns = [...Array(shape.kernel[1]).keys()];
${bindings}

@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let part = tile / ${tilesOfPart}u;
  let laneTile = tile % ${laneTiles}u;
  let filterTile = tile / ${laneTiles}u % ${filterTiles * sections}u;
  let firstFilter = filterTile % ${filterTiles}u * ${MR}u;
  let index = laneTile * ${L}u + lane;
  let used = min(index, ${laneCount - 1}u);
  let ky = used % ${shape.kernel[0]}u;
# if (depthwise) {
  let section = used / ${shape.kernel[0]}u;
  let channel = section;
# } else {
  let section = filterTile / ${filterTiles}u;
  let channel = section * ${sizes.groupChannels}u + used / ${shape.kernel[0]}u;
# }
# for (const r of filters) for (const kx of columns) {
  var c${r}_${kx} = 0.0;
# }
  let lastLine = min(${lines}u, (part + 1u) * ${linesOfPart}u);
  for (var line = part * ${linesOfPart}u; line < lastLine; line++) {
    let oy = line % ${sizes.outHeight}u;
    let image = line / ${sizes.outHeight}u;
    let iy = oy * ${shape.stride[0]}u + ky + ${u32(-shape.padding[0])};
    let inside = iy < ${shape.height}u;
    let plane = (image * ${shape.channels}u + channel) * ${sizes.inPixels / row.unit}u
      + iy * ${shape.width / row.unit}u;
    let planes = image * ${shape.filters}u + section * ${sizes.groupFilters}u + firstFilter${sharing ? " + lane" : ""};
    let gradients = (planes * ${sizes.outHeight}u + oy) * ${sizes.outWidth}u / ${gradientUnit}u;
    for (var ox = 0u; ox < ${sizes.outWidth}u; ox += 4u) {
      let x0 = ox * ${shape.stride[1]}u;
# for (const statement of row.setup) {
      ${statement}
# }
      let place = plane + x0 / ${row.unit}u;
# for (let load = 0; load < gradientLoads; load++) {
      let g${load} = ${gradientLoad(load)};
# }
# for (const load of row.loads("v", "place", "inside")) {
      ${load}
# }
# for (const r of filters) for (let i = 0; i < 4; i++) {
      { let x = ${gradient(r, i)};
#   for (const kx of columns) {
        c${r}_${kx} += x * ${row.value("v", kx, i)};
#   }
      }
# }
    }
  }
  if (index >= ${laneCount}u) { return; }
# for (const r of filters) {
#   if (sizes.groupFilters % MR) {
  if (firstFilter + ${r}u < ${sizes.groupFilters}u) {
#   } else {
  {
#   }
    let at = part * ${size}u
      + (section * ${sizes.groupFilters}u + firstFilter + ${r}u) * ${sizes.groupChannels * sizes.taps}u
      + ${depthwise ? "ky" : "used"} * ${shape.kernel[1]}u;
#   for (const kx of columns) {
    put(at + ${kx}u, c${r}_${kx});
#   }
  }
# }
}
