// Rearranges convolution weights. Tiled, an invocation writes four neighbouring filters.
${bindings}

fn weight(section: u32, filterIndex: u32, channel: u32, tap: u32) -> f32 {
# if (turn) {
  let pair = (section * ${sizes.groupChannels}u + channel) * ${sizes.groupFilters}u + filterIndex;
  return weights[pair * ${sizes.taps}u + ${sizes.taps - 1}u - tap];
# } else {
  let pair = (section * ${sizes.groupFilters}u + filterIndex) * ${sizes.groupChannels}u + channel;
  return weights[pair * ${sizes.taps}u + tap];
# }
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
# if (tileFilters) {
  // [section, filter tile, channel, tap, filters of the tile]
  let tap = i / ${tileFilters / 4}u % ${sizes.taps}u;
  let channel = i / ${tileFilters / 4 * sizes.taps}u % ${sizes.groupChannels}u;
  let filterTile = i / ${tileFilters / 4 * sizes.taps * sizes.groupChannels}u;
  let first = filterTile % ${filterTiles}u * ${tileFilters}u + i % ${tileFilters / 4}u * 4u;
  let section = filterTile / ${filterTiles}u;
  result[i] = vec4f(
# for (let f = 0; f < 4; f++) {
    select(0.0, weight(section, first + ${f}u, channel, tap), first + ${f}u < ${sizes.groupFilters}u),
# }
  );
# } else {
  // [section, filter, channel, tap]
  let filterIndex = i / ${sizes.taps * sizes.groupChannels}u % ${sizes.groupFilters}u;
  let section = i / ${sizes.taps * sizes.groupChannels * sizes.groupFilters}u;
  let channel = i / ${sizes.taps}u % ${sizes.groupChannels}u;
  result[i] = weight(section, filterIndex, channel, i % ${sizes.taps}u);
# }
}
