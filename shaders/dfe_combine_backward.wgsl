// The gradients of the four maps: factors of g that depend on the similarity of the sample alone.
${declarations}
${sizes}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * sizes.gridWidth + group.x) * 64u + lane;
  if (i >= sizes.count) { return; }
  let s = similarity[i / sizes.sample];
  let w = 1.0 / (1.0 + exp(-s));
  let value = g[i];
  dp[i] = (s - 1.0) * value;
  dq[i] = (1.0 - s) * value;
  dmappedP[i] = w * value;
  dmappedQ[i] = (1.0 - w) * value;
}
