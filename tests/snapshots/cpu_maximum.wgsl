@group(0) @binding(0) var<storage, read_write> x0: array<f32>;
@group(0) @binding(1) var<storage, read_write> x1: array<f32>;

fn maximum_1(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, ((bitcast<i32>(b) & i32(0x7fffffff)) > i32(0x7f800000))), a, ((bitcast<i32>(a) & i32(0x7fffffff)) > i32(0x7f800000)));
}

fn maximum_4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return select(select(max(a, b), b, ((bitcast<vec4<i32>>(b) & vec4<i32>(0x7fffffff)) > vec4<i32>(0x7f800000))), a, ((bitcast<vec4<i32>>(a) & vec4<i32>(0x7fffffff)) > vec4<i32>(0x7f800000)));
}
var<private> lowest_bits: u32 = 0xff800000u;
@group(0) @binding(2) var<storage, read_write> result: array<f32>;

struct Sizes { threads0: u32, size1: u32, stride2: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 8u;
  let threads0 = sizes.threads0;
  let size1 = sizes.size1;
  let stride2 = sizes.stride2;
  if (i >= threads0) { return; }
  let o = i * 1u;
  let c0 = o;
  var acc = bitcast<f32>(lowest_bits);
  for (var r1 = 0u; r1 < size1; r1++) {
    let c1 = r1;
    let t0 = c0 * stride2 + c1;
  let t1 = x0[t0];
  let t2 = x1[c1];
  let t3 = t1 + t2;
  let t4 = f32(1.0) / (f32(1.0) + exp(-t3));
    acc = maximum_1(acc, t4);
  }
  let total = acc;
  
  result[o] = total;
}
