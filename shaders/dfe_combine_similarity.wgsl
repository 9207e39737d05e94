// Gradient of the similarity, in two stages: a workgroup sums g * d out / d S over a span of a sample;
// "last" adds the spans of each sample in order.
${declarations}
${sizes}
# if (last) {
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.x * 64u + lane;
  if (b >= sizes.batch) { return; }
  var total = 0.0;
  for (var i = 0u; i < sizes.spans; i++) { total += sums[b * sizes.spans + i]; }
  ds[b] = total;
}
# } else {
var<workgroup> tree: array<f32, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let b = group.y;
  let w = 1.0 / (1.0 + exp(-similarity[b]));
  let slope = w * (1.0 - w);
  var total = ${T}();
  let end = b * sizes.sample + min((group.x + 1u) * sizes.span, sizes.sample);
  for (var i = b * sizes.sample + group.x * sizes.span + lane; i < end; i += ${TEAM}u) {
    total += g[i] * (slope * (mappedP[i] - mappedQ[i]) - (q[i] - p[i]));
  }
  tree[lane] = ${V === 4 ? "dot(total, vec4f(1.0))" : "total"};
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  if (lane == 0u) { sums[b * sizes.spans + group.x] = tree[0]; }
}
# }
