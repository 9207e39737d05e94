// Each invocation sums squares at a stride of the whole grid; a workgroup adds its sums in a fixed tree.
${declarations}
var<workgroup> tree: array<f32, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sum = ${T}(0.0);
  for (var i = group.x * ${TEAM}u + lane; i < ${count}u; i += ${groups * TEAM}u) {
    let value = g[i];
    sum += value * value;
  }
  tree[lane] = ${V === 4 ? "(sum.x + sum.y) + (sum.z + sum.w)" : "sum"};
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  if (lane == 0u) { partial[${first}u + group.x] = tree[0]; }
}
