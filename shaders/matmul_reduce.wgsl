// Adds up the partial results of a product, in order.
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
  var total = ${zero};
  for (var part = 0u; part < ${terms}u; part++) {
    total += partial[part * ${count}u + i];
  }
  put(i * ${width}u, total);
}
