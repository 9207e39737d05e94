// One vec4 of parameters an invocation. Segments are whole blocks of 64 elements.
${declarations}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (i >= ${count}u) { return; }
# if (skips) {
  if (clip[2] != 0.0) { return; }
# }
  let segment = blocks[i / ${BLOCK / 4}u];
  let row = segment * 3u;
  if (table[row + 2u] == 0.0) { return; }
  let rate = hyper[0] * table[row];
  let gradient = g[i] * clip[0];
  let before = p[i];
  let first = m[i] + (gradient - m[i]) * hyper[4];
  let second = v[i] * hyper[2] + gradient * gradient * hyper[5];
  m[i] = first;
  v[i] = second;
  let corrections = (${segments}u + segment) * 3u;
  let step = first / table[corrections + 1u] / (sqrt(second / table[corrections + 2u]) + hyper[3]);
  p[i] = before - rate * table[row + 1u] * before - rate * step;
}
