// Rearranges convolution weights. Tiled, an invocation writes four neighbouring filters.
${bindings}
${sizes}

fn weight(section: u32, filterIndex: u32, channel: u32, tap: u32) -> f32 {
# if (turn) {
  let pair = (section * sizes.groupChannels + channel) * sizes.groupFilters + filterIndex;
  return weights[(pair + 1u) * sizes.taps - 1u - tap];
# } else {
  let pair = (section * sizes.groupFilters + filterIndex) * sizes.groupChannels + channel;
  return weights[pair * sizes.taps + tap];
# }
}

@compute @workgroup_size(${workgroup})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + group.y * sizes.gridWidth) * ${workgroup}u + lane;
  if (i >= sizes.count) { return; }
# // Tiled: [section, filter tile, channel, tap, filters of the tile]; else [section, filter, channel, tap].
  let pair = ${unit > 1 ? "i / " + unit + "u" : "i"};
  let channels = ${divided("pair", "perTap")};
  let tap = pair - channels * sizes.taps;
  let filters = ${divided("channels", "perChannel")};
  let channel = channels - filters * sizes.groupChannels;
  let section = ${divided("filters", "perSection")};
  let filterTile = filters - section * sizes.filterTiles;
# if (tileFilters) {
  let first = filterTile * ${tileFilters}u + i % ${unit}u * 4u;
  result[i] = vec4f(
# for (let f = 0; f < 4; f++) {
    select(0.0, weight(section, first + ${f}u, channel, tap), first + ${f}u < sizes.groupFilters),
# }
  );
# } else {
  result[i] = weight(section, filterTile, channel, tap);
# }
}
