// Adds up the partial results of a product, in order.
${bindings}
${sizes}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * sizes.gridWidth) * ${workgroup}u + lane;
  let count = sizes.count;
  if (i >= count) { return; }
  var total = ${zero};
  let end = sizes.terms * count;
  for (var at = i; at < end; at += count) {
    total += partial[at];
  }
  put(i * ${width}u, total${column});
}
