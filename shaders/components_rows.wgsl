// Labels the runs of set voxels along each row of each window with 1 + the index of their first voxel.
${declarations}
${sizes}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (group.y * sizes.gridWidth + group.x) * 64u + lane;
  if (row >= sizes.rows) { return; }
  let window = row / sizes.windowRows;
  let place = row % sizes.windowRows;
  let z = place / sizes.height;
  let live = z < windowTable[window * 3u + 2u];
  let slice = windowTable[window * 3u] * sizes.depth + windowTable[window * 3u + 1u] + z;
  let source = (slice * sizes.height + place % sizes.height) * sizes.width;
  var label = 0u;
  for (var x = 0u; x < sizes.width; x++) {
    var inside = false;
    if (live) { inside = mask[source + x] != 0u; }
    label = select(0u, select(label, place * sizes.width + x + 1u, label == 0u), inside);
    labels[row * sizes.width + x] = label;
  }
}
