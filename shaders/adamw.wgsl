// One vec4 of parameters an invocation. Segments are whole blocks of 64 elements.
${declarations}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (i >= ${count}u) { return; }
# if (skips) {
  if (clip[2] != 0.0) { return; }
# }
  let segment = blocks[i / ${BLOCK / 4}u] * 3u;
  if (segments[segment + 2u] == 0.0) { return; }
  let rate = hyper[0] * segments[segment];
  let gradient = g[i] * clip[0];
  let before = p[i];
  let first = m[i] + (gradient - m[i]) * hyper[6];
  let second = v[i] * hyper[2] + gradient * gradient * hyper[7];
  m[i] = first;
  v[i] = second;
  let step = first / hyper[4] / (sqrt(second / hyper[5]) + hyper[3]);
  p[i] = before - rate * segments[segment + 1u] * before - rate * step;
}
