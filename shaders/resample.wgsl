// Each invocation computes one value (or one vec4 along the inner axis) of ROWS lines, so that the
// table is read once for all of them. Indices are clamped: a band never reads outside its line.
${declarations}
${sizes}
# const index = (t) => `u32(clamp(start + ${t}, 0, i32(size) - 1))`;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = (group.y * sizes.gridWidth + group.x) * ${TEAM}u + lane;
  if (id >= sizes.count) { return; }
  let size = sizes.size;
  let inner = sizes.inner;
  let taps = sizes.taps;
  let i = id % inner;
  let row = id / inner % sizes.length;
  let line = id / (inner * sizes.length) * ${ROWS}u;
  let start = starts[row];
  # for (let r = 0; r < ROWS; r++) {
  #   const own = ragged ? `min(line + ${r}u, sizes.outer - 1u)` : `(line + ${r}u)`;
  let base${r} = ${own} * (size * inner) + i;
  var sum${r} = ${T}(0.0);
  # }
  # const tap = (t) => {
    let weight = weights[row * taps + u32(${t})];
    let at = ${index(t)} * inner;
  #   for (let r = 0; r < ROWS; r++) {
    sum${r} += weight * x[base${r} + at];
  #   }
  # };
  # if (unrolled) {
  #   for (let t = 0; t < unrolled; t++) {
  {
  #     tap(`${t}`);
  }
  #   }
  # } else {
  for (var t = 0; t < i32(taps); t++) {
  #   tap("t");
  }
  # }
  # for (let r = 0; r < ROWS; r++) {
  #   const at = `(((line + ${r}u) * sizes.length + row) * inner + i)`;
  #   const applied = epilogue.apply(V === 4 ? `(${at} * 4u)` : at, `sum${r}`, V);
  #   const guard = ragged ? `if (line + ${r}u < sizes.outer) ` : "";
  ${guard}{
    ${applied.statements}
    out[${at}] = ${applied.value};
  }
  # }
}
