// One step of dynamic loss scaling, by one invocation, between the norm of the scaled gradients and the
// update. Whether that norm is a number is seen from its bits: compilers may assume that floats are.
${declarations}
@compute @workgroup_size(1)
fn main() {
  let scale = state[0];
  let exponent = bitcast<u32>(clip[1]) & 0x7f800000u;
  if (exponent == 0x7f800000u) {
    clip[2] = 1.0;
    state[0] = max(scale * ${f32(backoff)}, ${f32(least)});
    state[1] = 0.0;
    state[3] += 1.0;
    return;
  }
  let norm = clip[1] / scale;
  let factor = select(1.0, min(1.0, maximum[0] / (norm + 1e-6)), maximum[0] > 0.0);
  clip[0] = factor / scale;
  clip[1] = norm;
  clip[2] = 0.0;
  state[2] += 1.0;
  let steady = state[1] + 1.0;
  let grows = steady >= ${f32(interval)};
  state[1] = select(steady, 0.0, grows);
  state[0] = select(scale, min(scale * ${f32(growth)}, ${f32(most)}), grows);
}
