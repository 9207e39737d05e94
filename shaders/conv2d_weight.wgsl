// Gradient of convolution weights: a lane owns one kernel row of one channel (all its columns) for MR
// filters, and passes along the output rows, four pixels at a time. Parts of the output rows go to
// different workgroups, whose sums another dispatch adds up.
# const filters = [...Array(MR).keys()];
# const columns = [...Array(kernel[1]).keys()];
${bindings}

@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
# for (const statement of decode) {
  ${statement}
# }
  let part = place.z;
  let index = place.x * ${L}u + lane;
  let used = min(index, sizes.laneCount - 1u);
  let ky = used % ${kernel[0]}u;
# if (grouped) {
  let section = place.y / sizes.filterTiles;
  let firstFilter = (place.y - section * sizes.filterTiles) * ${MR}u;
  let channel = section * sizes.groupChannels + used / ${kernel[0]}u;
# } else {
  let firstFilter = place.y * ${MR}u;
  let channel = used / ${kernel[0]}u;
#   if (depthwise) {
  let section = channel;
#   } else {
  let section = 0u;
#   }
# }
  let firstOfAll = section * sizes.groupFilters + firstFilter;
  let height = sizes.height;
  let width = sizes.width;
  let rowUnits = sizes.rowUnits;
  let outHeight = sizes.outHeight;
  let outWidth = sizes.outWidth;
  let outUnits = sizes.outUnits;
  let channelPlane = channel * sizes.planeUnits;
  let rowOfLine = ky + ${u32(-padding[0])};
  let planeOfFilter = firstOfAll${sharing ? " + lane" : ""};
# for (const r of filters) for (const kx of columns) {
  var c${r}_${kx} = 0.0;
# }
  let lastLine = min(sizes.lines, (part + 1u) * sizes.linesOfPart);
  for (var line = part * sizes.linesOfPart; line < lastLine; line++) {
    let image = ${divided("line", "perImage")};
    let oy = line - image * outHeight;
    let iy = oy * ${stride[0]}u + rowOfLine;
    let inside = iy < height;
    let plane = image * sizes.imageUnits + channelPlane + iy * rowUnits;
    let gradients = (image * sizes.filters + planeOfFilter) * outUnits + oy * outWidth / ${gradientUnit}u;
    for (var ox = 0u; ox < outWidth; ox += 4u) {
      let x0 = ox * ${stride[1]}u;
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
  if (index >= sizes.laneCount) { return; }
  let first = part * sizes.size + firstOfAll * sizes.filterSize + ${depthwise ? "ky" : "used"} * ${kernel[1]}u;
  let end = min(${MR}u, sizes.groupFilters - firstFilter);
  for (var r = 0u; r < end; r++) {
    let at = first + r * sizes.filterSize;
# for (const statement of bitsOfNumber("r", MR)) {
    ${statement}
# }
# for (const kx of columns) {
    put(at + ${kx}u, ${numbered(filters.map((r) => "c" + r + "_" + kx))});
# }
  }
}
