// Union-find on the labels: a label names a voxel of the same component with a smaller or the same index,
// 1 + its own index at a root. `flatten` replaces every label by its root; else runs of neighbouring
// rows are joined. Links only ever point to smaller indices, so roots do not depend on the order.
# const rows = connectivity === 6 ? 2 : 4;
${declarations}
${sizes}
fn root(base: u32, start: u32) -> u32 {
  var label = start;
  var next = atomicLoad(&labels[base + label - 1u]);
  while (next != label) {
    label = next;
    next = atomicLoad(&labels[base + label - 1u]);
  }
  return label;
}
# if (!flatten) {
fn join(base: u32, first: u32, second: u32) {
  var a = first;
  var b = second;
  while (true) {
    a = root(base, a);
    b = root(base, b);
    if (a == b) { return; }
    let low = min(a, b);
    let high = max(a, b);
    let old = atomicMin(&labels[base + high - 1u], low);
    if (old == high) { return; }
    a = low;
    b = old;
  }
}
fn at(base: u32, row: u32, x: i32) -> u32 {
  if (x < 0 || x >= i32(sizes.width)) { return 0u; }
  return atomicLoad(&labels[base + row * sizes.width + u32(x)]);
}
# }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * sizes.gridWidth + group.x) * 64u + lane;
  if (i >= sizes.count) { return; }
  let base = i / sizes.voxels * sizes.voxels;
  let own = atomicLoad(&labels[i]);
  if (own == 0u) { return; }
  # if (flatten) {
  atomicStore(&labels[i], root(base, own));
  # } else {
  let width = sizes.width;
  let height = i32(sizes.height);
  let place = i - base;
  let x = i32(place % width);
  let row = place / width;
  let y = i32(row) % height;
  let z = i32(row) / height;
  let before = at(base, row, x - 1) != 0u;
  let after = at(base, row, x + 1) != 0u;
  // Rows before this one that it touches, in a loop: what joins takes long to compile.
  for (var n = 0u; n < ${rows}u; n++) {
    let dz = select(-1, 0, n == 0u);
    let dy = select(select(1, 0, n == 1u), -1, n % 2u == 0u);
    if (z + dz < 0 || y + dy < 0 || y + dy >= height) { continue; }
    let near = u32(i32(row) + dz * height + dy);
    let straight = at(base, near, x);
    let left = at(base, near, x - 1);
    // Where the voxels before both are set, their runs have been joined there.
    var first = select(straight, 0u, before && left != 0u);
    var second = 0u;
  #   if (connectivity === 26) {
    if (straight == 0u) {
      // A set voxel beside this one meets its own neighbour straight on.
      first = select(left, 0u, before);
      second = select(at(base, near, x + 1), 0u, after);
    }
  #   }
    for (var k = 0u; k < ${connectivity === 26 ? 2 : 1}u; k++) {
      let other = select(second, first, k == 0u);
      if (other != 0u) { join(base, own, other); }
    }
  }
  # }
}
