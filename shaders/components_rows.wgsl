// Labels the runs of set voxels along each row of each window with 1 + the index of their first voxel.
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (row >= ${windows * length * height}u) { return; }
  let window = row / ${length * height}u;
  let place = row % ${length * height}u;
  let z = place / ${height}u;
  let live = z < windowTable[window * 3u + 2u];
  let slice = windowTable[window * 3u] * ${depth}u + windowTable[window * 3u + 1u] + z;
  let source = (slice * ${height}u + place % ${height}u) * ${width}u;
  var label = 0u;
  for (var x = 0u; x < ${width}u; x++) {
    var inside = false;
    if (live) { inside = mask[source + x] != 0u; }
    label = select(0u, select(label, place * ${width}u + x + 1u, label == 0u), inside);
    labels[row * ${width}u + x] = label;
  }
}
