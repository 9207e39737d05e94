// Cosine of the two mean vectors of each sample, one workgroup a sample, and its derivative with regard
// to each value of the maps (the same at all positions of a channel).
${declarations}
${sizes}
var<workgroup> tree: array<vec3f, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let channels = sizes.channels;
  let inverse = bitcast<f32>(sizes.inverse);
  let base = group.x * 2u * channels;
  var sums = vec3f();
  for (var c = lane; c < channels; c += ${TEAM}u) {
    let a = means[base + c];
    let b = means[base + channels + c];
    sums += vec3f(a * b, a * a, b * b);
  }
  tree[lane] = sums;
  # for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] += tree[lane + ${step}u]; }
  # }
  workgroupBarrier();
  let products = tree[0];
  let norms = sqrt(products.y) * sqrt(products.z);
  let scale = 1.0 / max(norms, ${eps});
  let similarity = products.x * scale;
  if (lane == 0u) { out[group.x] = similarity; }
  // Where the norms are clamped they do not vary.
  let free = norms > ${eps};
  let shrinkA = select(0.0, similarity / products.y, free);
  let shrinkB = select(0.0, similarity / products.z, free);
  for (var c = lane; c < channels; c += ${TEAM}u) {
    let a = means[base + c];
    let b = means[base + channels + c];
    slopes[base + c] = (b * scale - a * shrinkA) * inverse;
    slopes[base + channels + c] = (a * scale - b * shrinkB) * inverse;
  }
}
