// means[b, 0, c] and means[b, 1, c]: averages of the maps p[b, c] and q[b, c], one workgroup a channel.
${declarations}
var<workgroup> tree: array<vec2f, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = group.y * ${gridX}u + group.x;
  if (channel >= ${batch * channels}u) { return; }
  let base = channel * ${positions}u;
  var sums: array<${T}, 2>;
  for (var i = lane; i < ${positions}u; i += ${TEAM}u) {
    sums[0] += p[base + i];
    sums[1] += q[base + i];
  }
  # const total = (sum) => V === 4 ? `dot(${sum}, vec4f(1.0))` : sum;
  tree[lane] = vec2f(${total("sums[0]")}, ${total("sums[1]")});
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  if (lane == 0u) {
    let at = channel / ${channels}u * ${2 * channels}u + channel % ${channels}u;
    means[at] = tree[0].x * ${1 / (positions * V)};
    means[at + ${channels}u] = tree[0].y * ${1 / (positions * V)};
  }
}
