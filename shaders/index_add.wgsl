// Each invocation sums, in order, the rows that belong to one value (or vec4) of the result.
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (id >= ${values}u) { return; }
  let base = id / ${size * inner}u * ${count * inner}u + id % ${inner}u;
  var total = ${T}();
  for (var j = links[id / ${inner}u % ${size}u]; j < ${count}u; j = links[${size}u + j]) {
    total += g[base + j * ${inner}u];
  }
  # const applied = epilogue.apply(V === 4 ? "(id * 4u)" : "id", "total", V);
  ${applied.statements}
  out[id] = ${applied.value};
}
