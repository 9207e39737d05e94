// out = w * mappedP + (1 - w) * mappedQ + (1 - S) * (q - p), w = sigmoid(S), S of the sample.
${declarations}
${sizes}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.y * sizes.gridWidth + group.x) * 64u + lane;
  if (i >= sizes.count) { return; }
  let s = similarity[i / sizes.sample];
  let w = 1.0 / (1.0 + exp(-s));
  let value = w * mappedP[i] + (1.0 - w) * mappedQ[i] + (1.0 - s) * (q[i] - p[i]);
  # const applied = epilogue.apply(V === 4 ? "(i * 4u)" : "i", "value", V);
  ${applied.statements}
  out[i] = ${applied.value};
}
