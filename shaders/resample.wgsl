// Each invocation computes one value (or one vec4 along the inner axis) of ROWS lines, so that the
// table is read once for all of them. Indices are clamped: a band never reads outside its line.
${declarations}
# const index = (t) => `u32(clamp(start + ${t}, 0, ${size - 1}))`;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = (group.y * ${gridX}u + group.x) * ${TEAM}u + lane;
  if (id >= ${count}u) { return; }
  let i = id % ${inner}u;
  let row = (id / ${inner}u) % ${length}u;
  let line = id / ${inner * length}u * ${ROWS}u;
  let start = starts[row];
  # for (let r = 0; r < ROWS; r++) {
  #   const own = ragged ? `min(line + ${r}u, ${outer - 1}u)` : `(line + ${r}u)`;
  let base${r} = ${own} * ${size * inner}u + i;
  var sum${r} = ${T}(0.0);
  # }
  # const tap = (t) => {
    let weight = weights[row * ${taps}u + u32(${t})];
    let at = ${index(t)} * ${inner}u;
  #   for (let r = 0; r < ROWS; r++) {
    sum${r} += weight * x[base${r} + at];
  #   }
  # };
  # if (taps <= 8) {
  #   for (let t = 0; t < taps; t++) {
  {
  #     tap(`${t}`);
  }
  #   }
  # } else {
  for (var t = 0; t < ${taps}; t++) {
  #   tap("t");
  }
  # }
  # for (let r = 0; r < ROWS; r++) {
  #   const at = `(((line + ${r}u) * ${length}u + row) * ${inner}u + i)`;
  #   const applied = epilogue.apply(V === 4 ? `(${at} * 4u)` : at, `sum${r}`, V);
  #   const guard = ragged ? `if (line + ${r}u < ${outer}u) ` : "";
  ${guard}{
    ${applied.statements}
    out[${at}] = ${applied.value};
  }
  # }
}
