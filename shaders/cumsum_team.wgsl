// A workgroup shares a contiguous line: each invocation sums a run of CHUNK values, the sums are
// scanned in workgroup memory, and each invocation walks its run again from what comes before it.
${declarations}
var<workgroup> sums: array<f32, ${TEAM}>;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = group.y * ${gridX}u + group.x;
  # if (spill) {
  if (line >= ${lines}u) { return; }
  # }
  let first = min(lane * ${CHUNK}u, ${size}u);
  let end = min(first + ${CHUNK}u, ${size}u);
  # const place = reverse ? `(${size - 1}u - n)` : "n";
  let base = line * ${size}u;
  var own = 0.0;
  for (var n = first; n < end; n++) { own += x[base + ${place}]; }
  sums[lane] = own;
  # for (let step = 1; step < TEAM; step *= 2) {
  workgroupBarrier();
  let before${step} = select(0.0, sums[max(lane, ${step}u) - ${step}u], lane >= ${step}u);
  workgroupBarrier();
  sums[lane] += before${step};
  # }
  workgroupBarrier();
  var total = select(0.0, sums[max(lane, 1u) - 1u], lane > 0u);
  for (var n = first; n < end; n++) {
    total += x[base + ${place}];
    out[base + ${place}] = total;
  }
}
