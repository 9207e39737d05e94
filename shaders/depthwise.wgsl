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
  let channel = image % ${channels}u;
  let x0 = ox * ${strideX}u;
  let y0 = oy * ${strideY}u;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = image * ${plane}u + x0 / ${row.unit}u;
# for (let t = 0; t < taps; t++) {
  let w${t} = weights[channel * ${taps}u + ${turn ? taps - 1 - t : t}u];
# }
# for (const r of rows) {
  var c${r} = vec4f();
# }
# for (let dy = 0; dy < (R - 1) * strideY + kernelHeight; dy++) {
  {
    let iy = y0 + ${u32(dy - paddingY)};
    let place = plane + iy * ${rowUnits}u;
#   for (const load of row.loads("v", "place", "iy < " + height + "u")) {
    ${load}
#   }
#   for (let kx = 0; kx < kernelWidth; kx++) {
    { let s = ${row.values("v", kx)};
#     for (const r of rows) if (dy >= r * strideY && dy < r * strideY + kernelHeight) {
      c${r} += w${(dy - r * strideY) * kernelWidth + kx} * s;
#     }
    }
#   }
  }
# }
  let base = (image * ${outHeight}u + oy) * ${outWidth}u + ox;
# for (const r of rows) {
  if (oy + ${r}u < ${outHeight}u) {
#   for (const store of stores(r)) {
    ${store}
#   }
  }
# }
}
