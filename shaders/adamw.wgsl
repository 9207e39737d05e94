// One AdamW step on a window of flat buffers, a vec4 an invocation. A block of 64 values belongs to one
// segment: (learning-rate scale, weight decay, 1 where it has a gradient, unused).
${declarations}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * ${gridX}u + group.x) * 64u + lane;
  if (i >= ${count}u) { return; }
  let segment = segments[blocks[i / 16u]];
  if (segment.z == 0.0) { return; }
  let rate = hyper[0] * segment.x;
  let beta1 = hyper[1];
  let beta2 = hyper[2];
  let gradient = g[i] * clip[0];
  let first = m[i] * beta1 + gradient * (1.0 - beta1);
  let second = v[i] * beta2 + gradient * gradient * (1.0 - beta2);
  m[i] = first;
  v[i] = second;
  let decayed = p[i] * (1.0 - rate * segment.y);
  p[i] = decayed - rate * (first / hyper[4]) / (sqrt(second / hyper[5]) + hyper[3]);
}
