// means[b, 0, c] and means[b, 1, c]: averages of the maps p[b, c] and q[b, c], one workgroup a channel.
${declarations}
${sizes}
var<workgroup> tree: array<vec2f, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channel = group.y * sizes.gridWidth + group.x;
  if (channel >= sizes.count) { return; }
  let channels = sizes.channels;
  let inverse = bitcast<f32>(sizes.inverse);
  let length = sizes.length;
  let base = channel * length;
  var sums: array<${T}, 2>;
  for (var i = lane; i < length; i += ${TEAM}u) {
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
    let at = channel / channels * 2u * channels + channel % channels;
    means[at] = tree[0].x * inverse;
    means[at + channels] = tree[0].y * inverse;
  }
}
