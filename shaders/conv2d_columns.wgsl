// Gradient of a strided convolution's input: adds up, for each input pixel, what the taps that saw it
// contributed. `columns` is [image, channel, tap, output pixel].
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
  let y = i / ${width}u % ${height}u + ${paddingY}u;
  let x = i % ${width}u + ${paddingX}u;
  let plane = i / ${width * height}u * ${taps * outPixels}u;
  var total = 0.0;
  for (var ky = y % ${strideY}u; ky < ${kernelHeight}u; ky += ${strideY}u) {
    let oy = (y - ky) / ${strideY}u;
    if (ky > y || oy >= ${outHeight}u) { continue; }
    for (var kx = x % ${strideX}u; kx < ${kernelWidth}u; kx += ${strideX}u) {
      let ox = (x - kx) / ${strideX}u;
      if (kx > x || ox >= ${outWidth}u) { continue; }
      total += columns[plane + (ky * ${kernelWidth}u + kx) * ${outPixels}u + oy * ${outWidth}u + ox];
    }
  }
  put(${first}u + i, total);
}
