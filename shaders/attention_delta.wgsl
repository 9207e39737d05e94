// delta[row] = sum over d of g * out: what the softmax gradient subtracts from each row.
# const W = vector ? 4 : 1;
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (row >= ${rows}u) { return; }
  var total = 0.0;
  for (var i = row * ${D / W}u; i < (row + 1u) * ${D / W}u; i++) {
    total += ${vector ? "dot(g_data[i], out_data[i])" : "g_data[i] * out_data[i]"};
  }
  delta_data[row] = total;
}
