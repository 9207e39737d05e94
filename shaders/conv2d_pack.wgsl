// Rearranges convolution weights. Tiled, an invocation writes four neighbouring filters.
${bindings}

fn weight(section: u32, filterIndex: u32, channel: u32, tap: u32) -> f32 {
# if (turn) {
  return weights[((section * ${groupChannels}u + channel) * ${groupFilters}u + filterIndex) * ${taps}u
    + ${taps - 1}u - tap];
# } else {
  return weights[((section * ${groupFilters}u + filterIndex) * ${groupChannels}u + channel) * ${taps}u + tap];
# }
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
# if (tileFilters) {
  // [section, filter tile, channel, tap, filters of the tile]
  let tap = i / ${tileFilters / 4}u % ${taps}u;
  let channel = i / ${tileFilters / 4 * taps}u % ${groupChannels}u;
  let filterTile = i / ${tileFilters / 4 * taps * groupChannels}u;
  let first = filterTile % ${filterTiles}u * ${tileFilters}u + i % ${tileFilters / 4}u * 4u;
  let section = filterTile / ${filterTiles}u;
  result[i] = vec4f(
# for (let f = 0; f < 4; f++) {
    select(0.0, weight(section, first + ${f}u, channel, tap), first + ${f}u < ${groupFilters}u),
# }
  );
# } else {
  // [section, filter, channel, tap]
  let filterIndex = i / ${taps * groupChannels}u % ${groupFilters}u;
  let section = i / ${taps * groupChannels * groupFilters}u;
  result[i] = weight(section, filterIndex, i / ${taps}u % ${groupChannels}u, i % ${taps}u);
# }
}
