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

struct Sizes { threads0: u32, groups1: u32, chunk2: u32, size3: u32, stride4: u32, outputs5: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let threads0 = sizes.threads0;
  let groups1 = sizes.groups1;
  let chunk2 = sizes.chunk2;
  let size3 = sizes.size3;
  let stride4 = sizes.stride4;
  let outputs5 = sizes.outputs5;
  if (i >= threads0) { return; }
  let piece = i / groups1;
  let o = (i % groups1) * 1u;
  let first = piece * chunk2;
  let end = min(size3, first + chunk2);
  let c0 = o;
  var acc = bitcast<f32>(lowest_bits);
  for (var r1 = first; r1 < end; r1++) {
    let c1 = r1;
    let t0 = c0 * stride4 + c1;
  let t1 = x0[t0];
  let t2 = x1[c1];
  let t3 = t1 + t2;
  let t4 = f32(1.0) / (f32(1.0) + exp(-t3));
    acc = maximum_1(acc, t4);
  }
  let total = acc;
  
  result[piece * outputs5 + o] = total;
}

@group(0) @binding(0) var<storage, read_write> partial: array<f32>;
fn maximum_1(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, ((bitcast<i32>(b) & i32(0x7fffffff)) > i32(0x7f800000))), a, ((bitcast<i32>(a) & i32(0x7fffffff)) > i32(0x7f800000)));
}@group(0) @binding(1) var<storage, read_write> result: array<f32>;

fn put(index: u32, value: f32) {
  
  result[index] = value;
}
struct Sizes { count: u32, terms: u32, columns: u32, gridWidth: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
let i = (group.x + group.y * sizes.gridWidth) * 64u + lane;
let count = sizes.count;
if (i >= count) { return; }
var total = partial[i];
let end = sizes.terms * count;
for (var at = i + count; at < end; at += count) {
total = maximum_1(total, partial[at]);
}
put(i * 1u, total);
}
