${declarations}
var<workgroup> tree: array<f32, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < ${count}u; i += ${TEAM}u) { sum += partial[i]; }
  tree[lane] = sum;
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  if (lane == 0u) {
    let norm = sqrt(tree[0]);
    let factor = min(1.0, maximum[0] / (norm + 1e-6));
    out[0] = select(1.0, factor, maximum[0] > 0.0);
    out[1] = norm;
  }
}
