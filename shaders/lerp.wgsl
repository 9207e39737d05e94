${declarations}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (i >= ${count}u) { return; }
  target_values[i] = target_values[i] * factors[0] + source_values[i] * factors[1];
}
