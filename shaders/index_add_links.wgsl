// For each row, links[row]: the first entry of the index that names it; for each entry j,
// links[size + j]: the next entry that names the same row. `count` ends a chain.
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (id >= ${size + count}u) { return; }
  var row = id;
  var j = 0u;
  if (id >= ${size}u) {
    row = index[id - ${size}u];
    j = id - ${size}u + 1u;
  }
  while (j < ${count}u && index[min(j, ${count - 1}u)] != row) { j++; }
  links[id] = j;
}
