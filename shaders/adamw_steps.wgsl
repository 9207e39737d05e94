// Counts the update of each segment that has a gradient, and looks up the corrections of its moments.
${declarations}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let segment = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (segment >= ${segments}u) { return; }
# if (skips) {
  if (clip[2] != 0.0) { return; }
# }
  if (table[segment * 3u + 2u] == 0.0) { return; }
  let at = (${segments}u + segment) * 3u;
  let taken = table[at];
  let row = u32(taken);
  table[at] = taken + 1.0;
  table[at + 1u] = corrections[min(row, ${first - 1}u)];
  table[at + 2u] = corrections[${first}u + min(row, ${second - 1}u)];
}
