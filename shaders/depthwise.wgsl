// Depthwise convolution: an invocation computes R rows of four neighbouring output pixels of one
// channel, and loads each input row once for all of them. Where a subgroup is `sharing` lanes, all of
// them work on one channel: they load its weights together and hand them round.
# const rows = [...Array(R).keys()];
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let index = tile * ${workgroup}u + lane;
# if (sharing) {
  let own = index % ${quadsOfChannel}u;
  let quad = min(own, ${quads - 1}u);
# } else {
  if (index >= ${count}u) { return; }
  let quad = index % ${quads}u;
# }
  let ox = quad % ${quadsOfRow}u * 4u;
  let oy = quad / ${quadsOfRow}u * ${R}u;
  let image = index / ${quadsOfChannel}u;
  let channel = image % ${shape.channels}u;
  let x0 = ox * ${shape.stride[1]}u;
  let y0 = oy * ${shape.stride[0]}u;
# for (const statement of row.setup) {
  ${statement}
# }
  let plane = image * ${sizes.inPixels / row.unit}u + x0 / ${row.unit}u;
# for (let t = 0; sharing && t < sizes.taps; t += sharing) {
  let shared${t / sharing} = weights[channel * ${sizes.taps}u + min(lane + ${t}u, ${sizes.taps - 1}u)];
# }
# for (let t = 0; t < sizes.taps; t++) {
#   const at = weightAt(t);
#   const shared = "shared" + Math.floor(at / sharing) + ", " + at % sharing;
  let w${t} = ${sharing ? "subgroupBroadcast(" + shared + "u)" : "weights[channel * " + sizes.taps + "u + " + at + "u]"};
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
  if (${sharing ? "own < " + quads + "u && " : ""}oy + ${r}u < ${sizes.outHeight}u) {
#   for (const store of stores(r)) {
    ${store}
#   }
  }
# }
}
