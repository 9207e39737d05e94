// Union-find on the labels: a label names a voxel of the same component with a smaller or the same index,
// 1 + its own index at a root. `flatten` replaces every label by its root; else runs of neighbouring
// rows are joined. Links only ever point to smaller indices, so roots do not depend on the order.
# // Rows before this one that it touches.
# const six = [[0, -1], [-1, 0]];
# const rows = connectivity === 6 ? six : [...six, [-1, -1], [-1, 1]];
${declarations}
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
  if (x < 0 || x >= ${width}) { return 0u; }
  return atomicLoad(&labels[base + row * ${width}u + u32(x)]);
}
# }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (i >= ${windows * voxels}u) { return; }
  let base = i / ${voxels}u * ${voxels}u;
  let own = atomicLoad(&labels[i]);
  if (own == 0u) { return; }
  # if (flatten) {
  atomicStore(&labels[i], root(base, own));
  # } else {
  let place = i - base;
  let x = i32(place % ${width}u);
  let row = place / ${width}u;
  let y = i32(row % ${height}u);
  let z = i32(row / ${height}u);
  let before = at(base, row, x - 1) != 0u;
  let after = at(base, row, x + 1) != 0u;
  #   for (const [dz, dy] of rows) {
  if (z + ${dz} >= 0 && y + ${dy} >= 0 && y + ${dy} < ${height}) {
    let near = u32(i32(row) + ${dz * height + dy});
    let straight = at(base, near, x);
    let left = at(base, near, x - 1);
    // Where the voxels before both are set, their runs have been joined there.
    if (straight != 0u && !(before && left != 0u)) { join(base, own, straight); }
  #     if (connectivity === 26) {
    if (straight == 0u) {
      // A set voxel beside this one meets its own neighbour straight on.
      if (left != 0u && !before) { join(base, own, left); }
      let right = at(base, near, x + 1);
      if (right != 0u && !after) { join(base, own, right); }
    }
  #     }
  }
  #   }
  # }
}
