// Batched product for CPU adapters: one subgroup a workgroup, no workgroup memory. Lanes lie along
// the columns, four columns each; a lane accumulates MR rows of them. The left factor is loaded by
// all lanes together, each another part, and handed round by constant-lane broadcasts; all loads
// stand before the arithmetic that uses them, which goes by blocks of rows, so that the accumulators
// of a block stay in registers.
# const columns = [...Array(NV).keys()];
# const rows = [...Array(MR).keys()];
${bindings}

@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  ${decode}
  let row = ${rowTile} * ${MR}u;
  let col = ${colTile} * ${4 * L * NV}u + lane * 4u;
  let z = ${zTile};
  ${lhs.setup}
  ${rhs.setup}
# for (const r of rows) for (const j of columns) {
  var c${r}_${j} = vec4f();
# }
  for (var k = ${kFirst}; k < ${kEnd}; k += ${KU}u) {
# for (const load of lhs.loads) {
    ${load}
# }
# for (let q0 = 0; q0 < KU; q0 += 4) {
#   for (const load of rhs.loads(q0)) {
    ${load}
#   }
#   for (let r0 = 0; r0 < MR; r0 += 4) for (let q = q0; q < q0 + 4; q++) {
#     for (const r of rows.slice(r0, r0 + 4)) {
    { let x = ${lhs.value(r, q)};
#       for (const j of columns) {
      c${r}_${j} += x * b${q}_${j};
#       }
    }
#     }
#   }
# }
  }
  let base = ${slice} * ${outStride}u;
#   for (let r = 0; r < MR; r += storeRows) for (const j of columns) {
#     for (const store of stores(j, r + "u", (d) => "c" + (r + d) + "_" + j)) {
  ${store}
#     }
#   }
}
