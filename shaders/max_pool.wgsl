// Max pooling of [image, row, column, channel], and its gradient. Each invocation makes one value of the
// result, or a vec4 along the channels. The gradient finds anew, for each window that an element lies in,
// whether it is the largest one; at ties the first in row-major order is.
# const T = V === 4 ? "vec4f" : "f32";
# const U = V === 4 ? "vec4u" : "u32";
${declarations}
${sizes}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * sizes.gridWidth + group.x) * ${TEAM}u + lane;
  if (i >= sizes.count) { return; }
  let channel = i % sizes.channels;
  let column = i / sizes.channels % sizes.columns;
  let row = i / (sizes.channels * sizes.columns) % sizes.rows;
  let image = i / (sizes.channels * sizes.columns * sizes.rows);
  let plane = sizes.xFirst + image * sizes.xImage + channel;
# if (!backward) {
  let corner = plane + row * ${stride}u * sizes.xRow + column * ${stride}u * sizes.xColumn;
  var best = x[corner];
  for (var tap = 1u; tap < ${kernel * kernel}u; tap++) {
    best = maximum_${V}(best, x[corner + tap / ${kernel}u * sizes.xRow + tap % ${kernel}u * sizes.xColumn]);
  }
  ${stored.statements}
  result[i] = ${stored.value};
# } else {
  // The windows from the first that reaches this far to the last that begins before.
  let windowRow = select(0u, (row - ${kernel}u) / ${stride}u + 1u, row >= ${kernel}u);
  let windowColumn = select(0u, (column - ${kernel}u) / ${stride}u + 1u, column >= ${kernel}u);
  let endRow = min(row / ${stride}u + 1u, sizes.windowRows);
  let endColumn = min(column / ${stride}u + 1u, sizes.windowColumns);
  var best = ${T}();
  for (var y = windowRow; y < endRow; y++) {
    for (var z = windowColumn; z < endColumn; z++) {
      let corner = plane + y * ${stride}u * sizes.xRow + z * ${stride}u * sizes.xColumn;
      let own = (row - y * ${stride}u) * ${kernel}u + column - z * ${stride}u;
      var highest = x[corner];
      var place = ${U}();
      for (var tap = 1u; tap < ${kernel * kernel}u; tap++) {
        let value = x[corner + tap / ${kernel}u * sizes.xRow + tap % ${kernel}u * sizes.xColumn];
        let higher = ((value > highest) | nan_${V}(value)) & !nan_${V}(highest);
        highest = select(highest, value, higher);
        place = select(place, ${U}(tap), higher);
      }
      let slope = g[((image * sizes.windowRows + y) * sizes.windowColumns + z) * sizes.channels + channel];
      best += select(${T}(), slope, place == ${U}(own));
    }
  }
  ${stored.statements}
  result[i] = ${stored.value};
# }
}
