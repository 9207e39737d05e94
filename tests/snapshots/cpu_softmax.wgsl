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
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
let length = sizes.length;
let n_0 = lane + 0u;
let n_1 = lane + 8u;
let n_2 = lane + 16u;
let n_3 = lane + 24u;
let n_4 = min(lane + 32u, length - 1u);
let first = (group.y * sizes.gridWidth + group.x) * sizes.perTeam;
let end = min(first + sizes.perTeam, sizes.lines);
for (var line = first; line < end; line++) {
let base = line * length;
let x_0 = x_data[base + n_0];
let x_1 = x_data[base + n_1];
let x_2 = x_data[base + n_2];
let x_3 = x_data[base + n_3];
let x_4 = x_data[base + n_4];
var top_sum = f32(bitcast<f32>(lowest_bits));
{
let n = n_0;
let x = x_0;
top_sum = maximum_1(top_sum, x);
}
{
let n = n_1;
let x = x_1;
top_sum = maximum_1(top_sum, x);
}
{
let n = n_2;
let x = x_2;
top_sum = maximum_1(top_sum, x);
}
{
let n = n_3;
let x = x_3;
top_sum = maximum_1(top_sum, x);
}
if (lane + 32u < length) {
let n = n_4;
let x = x_4;
top_sum = maximum_1(top_sum, x);
}
var top_all = top_sum;
top_all = maximum_1(top_all, subgroupShuffleXor(top_all, 1u));
top_all = maximum_1(top_all, subgroupShuffleXor(top_all, 2u));
top_all = maximum_1(top_all, subgroupShuffleXor(top_all, 4u));
let top = top_all;
var mass_sum = f32(0.0);
{
let n = n_0;
let x = x_0;
mass_sum = mass_sum + exp(x - top);
}
{
let n = n_1;
let x = x_1;
mass_sum = mass_sum + exp(x - top);
}
{
let n = n_2;
let x = x_2;
mass_sum = mass_sum + exp(x - top);
}
{
let n = n_3;
let x = x_3;
mass_sum = mass_sum + exp(x - top);
}
if (lane + 32u < length) {
let n = n_4;
let x = x_4;
mass_sum = mass_sum + exp(x - top);
}
var mass_all = mass_sum;
mass_all = mass_all + subgroupShuffleXor(mass_all, 1u);
mass_all = mass_all + subgroupShuffleXor(mass_all, 2u);
mass_all = mass_all + subgroupShuffleXor(mass_all, 4u);
let mass = if_finite_1(top, 1.0 / mass_all);
{
let n = n_0;
let x = x_0;
let value = exp(x - top) * mass;

out[base + n] = value;
}
{
let n = n_1;
let x = x_1;
let value = exp(x - top) * mass;

out[base + n] = value;
}
{
let n = n_2;
let x = x_2;
let value = exp(x - top) * mass;

out[base + n] = value;
}
{
let n = n_3;
let x = x_3;
let value = exp(x - top) * mass;

out[base + n] = value;
}
if (lane + 32u < length) {
let n = n_4;
let x = x_4;
let value = exp(x - top) * mass;

out[base + n] = value;
}
}
}
