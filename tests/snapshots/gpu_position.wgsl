@group(0) @binding(0) var<storage, read_write> x0: array<f32>;

fn nan_1(x: f32) -> bool {
  return ((bitcast<i32>(x) & i32(0x7fffffff)) > i32(0x7f800000));
}
var<private> lowest_bits: u32 = 0xff800000u;
@group(0) @binding(1) var<storage, read_write> result: array<u32>;
struct Sizes { threads0: u32, size1: u32, stride2: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let threads0 = sizes.threads0;
  let size1 = sizes.size1;
  let stride2 = sizes.stride2;
  let o = i;
  if (o >= threads0) { return; }
  let c0 = o;
  var best = bitcast<f32>(lowest_bits);
  var at = 0u;
  for (var c1 = 0u; c1 < size1; c1++) { let t0 = c0 * stride2 + c1;
  let t1 = x0[t0];
    let x = f32(t1);
    if ((x > best || nan_1(x)) && !nan_1(best)) { best = x; at = c1; } }
  result[o] = at;
}
