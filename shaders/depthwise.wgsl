// Depthwise convolution: an invocation computes R rows of four neighbouring output pixels of one
// channel, and loads each input row once for all of them.
# const rows = [...Array(R).keys()];
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let index = tile * ${workgroup}u + lane;
  if (index >= ${count}u) { return; }
  let ox = index % ${quadsOfRow}u * 4u;
  let oy = index / ${quadsOfRow}u % ${rowBlocks}u * ${R}u;
  let image = index / ${quadsOfRow * rowBlocks}u;
  let channel = image % ${shape.channels}u;
  let x0 = ox * ${shape.stride[1]}u;
  let y0 = oy * ${shape.stride[0]}u;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = image * ${sizes.inPixels / row.unit}u + x0 / ${row.unit}u;
# for (let t = 0; t < sizes.taps; t++) {
  let w${t} = weights[channel * ${sizes.taps}u + ${turn ? sizes.taps - 1 - t : t}u];
# }
# for (const r of rows) {
  var c${r} = vec4f();
# }
# for (let dy = 0; dy < (R - 1) * shape.stride[0] + shape.kernel[0]; dy++) {
  {
    let iy = y0 + ${u32(dy - shape.padding[0])};
    let place = plane + iy * ${shape.width / row.unit}u;
#   for (const load of row.loads("v", "place", "iy < " + shape.height + "u")) {
    ${load}
#   }
#   for (let kx = 0; kx < shape.kernel[1]; kx++) {
    { let s = ${row.values("v", kx)};
#     for (const r of rows) if (dy >= r * shape.stride[0] && dy < r * shape.stride[0] + shape.kernel[0]) {
      c${r} += w${(dy - r * shape.stride[0]) * shape.kernel[1] + kx} * s;
#     }
    }
#   }
  }
# }
  let base = (image * ${sizes.outHeight}u + oy) * ${sizes.outWidth}u + ox;
# for (const r of rows) {
  if (oy + ${r}u < ${sizes.outHeight}u) {
#   for (const store of stores(r)) {
    ${store}
#   }
  }
# }
}
