// Gradient of a strided convolution's input: adds up, for each input pixel, what the taps that saw it
// contributed. `columns` is [image, channel, tap, output pixel].
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
  let y = i / ${shape.width}u % ${shape.height}u + ${shape.padding[0]}u;
  let x = i % ${shape.width}u + ${shape.padding[1]}u;
  let plane = i / ${shape.width * shape.height}u * ${sizes.taps * sizes.outPixels}u;
  var total = 0.0;
  for (var ky = y % ${shape.stride[0]}u; ky < ${shape.kernel[0]}u; ky += ${shape.stride[0]}u) {
    let oy = (y - ky) / ${shape.stride[0]}u;
    if (ky > y || oy >= ${sizes.outHeight}u) { continue; }
    for (var kx = x % ${shape.stride[1]}u; kx < ${shape.kernel[1]}u; kx += ${shape.stride[1]}u) {
      let ox = (x - kx) / ${shape.stride[1]}u;
      if (kx > x || ox >= ${sizes.outWidth}u) { continue; }
      total += columns[plane + (ky * ${shape.kernel[1]}u + kx) * ${sizes.outPixels}u + oy * ${sizes.outWidth}u + ox];
    }
  }
  put(${first}u + i, total);
}
