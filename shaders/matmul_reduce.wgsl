// Joins partial results, in order. No loop runs from a constant to a number of `sizes`: llvmpipe would
// compile the kernel anew for each dispatch, with that number in place.
${bindings}
${sizes}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * sizes.gridWidth) * ${workgroup}u + lane;
  let count = sizes.count;
# if (companion) {
  if (i >= count) {
    let row = i - count;
    if (row >= sizes.beside) { return; }
    var sum = parts[row];
    let last = sizes.terms * sizes.beside;
    for (var at = row + sizes.beside; at < last; at += sizes.beside) { sum += parts[at]; }
    putSum(row, sum);
    return;
  }
# } else {
  if (i >= count) { return; }
# }
  var total = partial[i];
  let end = sizes.terms * count;
  for (var at = i + count; at < end; at += count) {
    total = ${joined("total", "partial[at]")};
  }
  put(i * ${width}u, total${column});
}
