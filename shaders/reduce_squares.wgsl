// Sum of squares in two stages with fixed trees. A workgroup of the first sums a span; the last adds all
// spans and writes (clip factor, norm).
${declarations}
var<workgroup> tree: array<f32, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  # if (last) {
  var total = 0.0;
  for (var i = lane; i < ${spans}u; i += ${TEAM}u) { total += sums[i]; }
  tree[lane] = total;
  # } else {
  let span = group.y * ${gridX}u + group.x;
  if (span >= ${spans}u) { return; }
  var total = ${T}();
  let end = min((span + 1u) * ${SPAN}u, ${count}u);
  for (var i = span * ${SPAN}u + lane; i < end; i += ${TEAM}u) {
    let value = x[i];
    total += value * value;
  }
  tree[lane] = ${T === "vec4f" ? "dot(total, vec4f(1.0))" : "total"};
  # }
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  # if (last) {
  if (lane == 0u) {
    let norm = sqrt(tree[0]);
    out[0] = min(1.0, limit[0] / (norm + 1.0e-6));
    out[1] = norm;
  }
  # } else {
  if (lane == 0u) { sums[${base}u + span] = tree[0]; }
  # }
}
