// Running sums. `team`: one workgroup a line, each invocation a run of CHUNK values; else each invocation
// a line (or four side by side) of its own.
${declarations}
# if (team) {
var<workgroup> totals: array<${T}, ${TEAM}>;
# }
# const place = (n) => reverse ? `(${size - 1}u - ${n})` : n;
# const position = (n) => `(base + ${place(n)} * ${inner}u)`;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let block = group.y * ${gridX}u + group.x;
  # if (team) {
  let line = block;
  if (line >= ${lines}u) { return; }
  let first = lane * ${CHUNK}u;
  let end = min(first + ${CHUNK}u, ${size}u);
  # } else {
  let line = block * ${TEAM}u + lane;
  if (line >= ${lines}u) { return; }
  let first = 0u;
  let end = ${size}u;
  # }
  let base = (line / ${inner}u) * ${size * inner}u + line % ${inner}u;
  var running = ${T}();
  # if (team) {
  for (var n = first; n < end; n++) { running += x[${position("n")}]; }
  totals[lane] = running;
  workgroupBarrier();
  running = ${T}();
  for (var i = 0u; i < lane; i++) { running += totals[i]; }
  # }
  for (var n = first; n < end; n++) {
    running += x[${position("n")}];
  # const at = position("n");
  # const applied = epilogue.apply(V === 4 ? `(${at} * 4u)` : at, "running", V);
    ${applied.statements}
    out[${at}] = ${applied.value};
  }
}
