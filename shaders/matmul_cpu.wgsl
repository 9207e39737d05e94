// Batched product for CPU adapters: one subgroup a workgroup, no workgroup memory. Lanes lie along
// the columns, four columns each; a lane accumulates MR rows of them. The left factor is loaded by
// all lanes together, each another part, and handed round by constant-lane broadcasts; all loads
// stand before the arithmetic that uses them, which goes by blocks of rows, so that the accumulators
// of a block stay in registers. Sizes are data: what is baked is the tile and how factors are read.
# const columns = [...Array(NV).keys()];
# const rows = [...Array(MR).keys()];
${bindings}
${sizes}


@compute @workgroup_size(${L})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
# for (const statement of decode) {
  ${statement}
# }
  let row = rowTile * ${MR}u;
  let col = colTile * ${4 * L * NV}u + lane * 4u;
  let m = sizes.m;
  let n = sizes.n;
  let kEnd = min(sizes.k, kFirst + sizes.chunk);
# for (const statement of [...lhs.setup, ...rhs.setup]) {
  ${statement}
# }
# for (const r of rows) for (const j of columns) {
  var c${r}_${j} = vec4f();
# }
# for (const statement of sums.start) {
  ${statement}
# }
  for (var k = kFirst; k < kEnd; k += ${KU}u) {
# for (const load of lhs.loads) {
    ${load}
# }
# for (let q0 = 0; q0 < KU; q0 += 4) {
#   for (const load of rhs.loads[q0 / 4]) {
    ${load}
#   }
#   for (const statement of sums.turn(q0)) {
    ${statement}
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
# for (const statement of sums.finish) {
  ${statement}
# }
# for (const j of columns) {
  {
    let column = col + ${4 * L * j}u;
# if (storeLoop) {
    let end = min(${MR}u, m - row);
    for (var r = 0u; r < end; r += ${storeTurn}u) {
#   for (const statement of bitsOfNumber("r", MR / storeTurn, storeTurn)) {
      ${statement}
#   }
#   for (let d = 0; d < storeTurn; d++) {
      let v${d} = ${numbered(rows.filter((r) => r % storeTurn === d).map((r) => "c" + r + "_" + j))};
#   }
#   for (let r = 0; r < storeTurn; r += storeRows) {
      ${storeTurn > storeRows ? "if (r + " + r + "u < end) " : ""}{
#     for (const statement of store((d) => "v" + (r + d), "(r + " + r + "u)")) {
        ${statement}
#     }
      }
#   }
    }
# } else {
#   for (let r = 0; r < MR; r += storeRows) {
    if (row + ${r}u < m) {
#     for (const statement of store((d) => "c" + (r + d) + "_" + j, r + "u")) {
      ${statement}
#     }
    }
#   }
# }
  }
# }
}
