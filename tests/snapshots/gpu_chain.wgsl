@group(0) @binding(0) var<storage, read_write> x0: array<f32>;
@group(0) @binding(1) var<storage, read_write> x1: array<f32>;
@group(0) @binding(2) var<storage, read_write> x2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> result: array<vec4<f32>>;

struct Sizes { threads0: u32, inverse1: u32, size2: u32, shift3: u32, stride4: u32, stride5: u32, stride6: u32, start7: u32, size8: u32, stride9: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
fn quotient(a: u32, inverse: f32) -> u32 {
  return u32(i32((f32(i32(a)) + 0.5) * inverse));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let threads0 = sizes.threads0;
  let inverse1 = bitcast<f32>(sizes.inverse1);
  let size2 = sizes.size2;
  let shift3 = sizes.shift3;
  let stride4 = sizes.stride4;
  let stride5 = sizes.stride5;
  let stride6 = sizes.stride6;
  let start7 = sizes.start7;
  let size8 = sizes.size8;
  let stride9 = sizes.stride9;
  if (i >= threads0) { return; }
  let f = i * 4u;
  let t0 = quotient(f, inverse1);
  let t1 = f - quotient(f, inverse1) * size2;
  let t2 = (t1 << shift3) + t0;
  let t3 = vec4<f32>(x0[t2], x0[t2 + stride4], x0[t2 + stride5], x0[t2 + stride6]);
  let t4 = x1[t0];
  let t5 = t3 * vec4<f32>(t4);
  let t6 = t0 - start7;
  let t7 = t6 < size8;
  let t8 = t6 * stride9 + t1;
  let t9 = t8 / 4u;
  let t10 = x2[t9];
  let t11 = select(vec4<f32>(), t10, vec4<bool>(t7));
  let t12 = t5 + t11;
  let t13 = select(t12, vec4<f32>(0.0), bitcast<vec4<i32>>(t12) <= vec4<i32>(-8388608));
  
  result[i] = t13;
}
