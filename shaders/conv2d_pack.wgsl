// Rearranges convolution weights: element i of the result is that of one filter, channel and tap.
${bindings}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let i = tile * ${workgroup}u + lane;
  if (i >= ${count}u) { return; }
# if (tileFilters) {
  // [section, filter tile, channel, tap, filter in tile]
  let tap = i / ${tileFilters}u % ${taps}u;
  let channel = i / ${tileFilters * taps}u % ${groupChannels}u;
  let filterTile = i / ${tileFilters * taps * groupChannels}u;
  let filterIndex = filterTile % ${filterTiles}u * ${tileFilters}u + i % ${tileFilters}u;
  let section = filterTile / ${filterTiles}u;
# } else {
  // [section, filter, channel, tap]
  let tap = i % ${taps}u;
  let channel = i / ${taps}u % ${groupChannels}u;
  let filterIndex = i / ${taps * groupChannels}u % ${groupFilters}u;
  let section = i / ${taps * groupChannels * groupFilters}u;
# }
# if (turn) {
  let source = ((section * ${groupChannels}u + channel) * ${groupFilters}u + filterIndex) * ${taps}u
    + ${taps - 1}u - tap;
# } else {
  let source = ((section * ${groupFilters}u + filterIndex) * ${groupChannels}u + channel) * ${taps}u + tap;
# }
  result[i] = select(0.0, weights[source], filterIndex < ${groupFilters}u);
}
