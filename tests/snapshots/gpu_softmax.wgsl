@group(0) @binding(0) var<storage, read_write> x_data: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
var<private> lowest_bits: u32 = 0xff800000u;

fn maximum_1(a: f32, b: f32) -> f32 {
  return select(select(max(a, b), b, ((bitcast<i32>(b) & i32(0x7fffffff)) > i32(0x7f800000))), a, ((bitcast<i32>(a) & i32(0x7fffffff)) > i32(0x7f800000)));
}
fn maximum_4(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return select(select(max(a, b), b, ((bitcast<vec4<i32>>(b) & vec4<i32>(0x7fffffff)) > vec4<i32>(0x7f800000))), a, ((bitcast<vec4<i32>>(a) & vec4<i32>(0x7fffffff)) > vec4<i32>(0x7f800000)));
}
fn if_finite_1(x: f32, value: f32) -> f32 {
  let exponent = bitcast<i32>(x) & i32(0x7f800000);
  return select(value, bitcast<f32>(i32(0x7fc00000)), exponent == i32(0x7f800000));
}
fn if_finite_4(x: vec4<f32>, value: vec4<f32>) -> vec4<f32> {
  let exponent = bitcast<vec4<i32>>(x) & vec4<i32>(0x7f800000);
  return select(value, bitcast<vec4<f32>>(vec4<i32>(0x7fc00000)), exponent == vec4<i32>(0x7f800000));
}


struct Sizes { gridWidth: u32, lines: u32, length: u32, perTeam: u32 }
@group(1) @binding(0) var<uniform> sizes: Sizes;
var<workgroup> tree: array<f32, 32>;
@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
let length = sizes.length;
let n_0 = lane + 0u;
let n_1 = min(lane + 32u, length - 1u);
let first = (group.y * sizes.gridWidth + group.x) * sizes.perTeam;
let end = min(first + sizes.perTeam, sizes.lines);
for (var line = first; line < end; line++) {
let base = line * length;
let x_0 = x_data[base + n_0];
let x_1 = x_data[base + n_1];
var top_sum = f32(bitcast<f32>(lowest_bits));
{
let n = n_0;
let x = x_0;
top_sum = maximum_1(top_sum, x);
}
if (lane + 32u < length) {
let n = n_1;
let x = x_1;
top_sum = maximum_1(top_sum, x);
}
var top_all = top_sum;
tree[lane] = top_all;
workgroupBarrier();
if (lane < 16u) { tree[lane] = maximum_1(tree[lane], tree[lane + 16u]); }
workgroupBarrier();
if (lane < 8u) { tree[lane] = maximum_1(tree[lane], tree[lane + 8u]); }
workgroupBarrier();
if (lane < 4u) { tree[lane] = maximum_1(tree[lane], tree[lane + 4u]); }
workgroupBarrier();
if (lane < 2u) { tree[lane] = maximum_1(tree[lane], tree[lane + 2u]); }
workgroupBarrier();
if (lane < 1u) { tree[lane] = maximum_1(tree[lane], tree[lane + 1u]); }
workgroupBarrier();
top_all = tree[0];
workgroupBarrier();
let top = top_all;
var mass_sum = f32(0.0);
{
let n = n_0;
let x = x_0;
mass_sum = mass_sum + exp(x - top);
}
if (lane + 32u < length) {
let n = n_1;
let x = x_1;
mass_sum = mass_sum + exp(x - top);
}
var mass_all = mass_sum;
tree[lane] = mass_all;
workgroupBarrier();
if (lane < 16u) { tree[lane] = tree[lane] + tree[lane + 16u]; }
workgroupBarrier();
if (lane < 8u) { tree[lane] = tree[lane] + tree[lane + 8u]; }
workgroupBarrier();
if (lane < 4u) { tree[lane] = tree[lane] + tree[lane + 4u]; }
workgroupBarrier();
if (lane < 2u) { tree[lane] = tree[lane] + tree[lane + 2u]; }
workgroupBarrier();
if (lane < 1u) { tree[lane] = tree[lane] + tree[lane + 1u]; }
workgroupBarrier();
mass_all = tree[0];
workgroupBarrier();
let mass = if_finite_1(top, 1.0 / mass_all);
{
let n = n_0;
let x = x_0;
let value = exp(x - top) * mass;

out[base + n] = value;
}
if (lane + 32u < length) {
let n = n_1;
let x = x_1;
let value = exp(x - top) * mass;

out[base + n] = value;
}
}
}
