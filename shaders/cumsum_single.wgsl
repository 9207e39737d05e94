// Each invocation walks one line (or four that lie side by side).
${declarations}
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (line >= ${lines}u) { return; }
  let base = line / ${inner}u * ${size * inner}u + line % ${inner}u;
  var total = ${T}(0.0);
  for (var n = 0u; n < ${size}u; n++) {
    let at = base + (${reverse ? size - 1 + "u - n" : "n"}) * ${inner}u;
    total += x[at];
    out[at] = total;
  }
}
