// target = target * decay + source * (1 - decay), in place.
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (i >= ${count}u) { return; }
  average[i] = average[i] * decay[0] + source[i] * (1.0 - decay[0]);
}
