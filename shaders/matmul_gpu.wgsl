// Batched product for GPUs: a BM x BN tile a workgroup, 16 values of k at a time in workgroup memory
// (k slowest, vec4 along rows or columns), and in registers QM x QN blocks of 4 x 4 a thread. Each
// thread fetches one 4 x 4 block of either factor ahead, before it computes with those at hand.
# const quadsM = [...Array(QM).keys()];
# const quadsN = [...Array(QN).keys()];
${bindings}

var<workgroup> lhsTile: array<vec4f, ${4 * BM}>;
var<workgroup> rhsTile: array<vec4f, ${4 * BN}>;

${fetches}

@compute @workgroup_size(${BM + BN})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  ${decode}
  let slice = tile / ${rowTiles * colTiles}u;
  let z = slice % ${batch}u;
  let firstRow = tile / ${colTiles}u % ${rowTiles}u * ${BM}u;
  let firstCol = tile % ${colTiles}u * ${BN}u;
  let kFirst = slice / ${batch}u * ${chunk}u;
  let kEnd = min(${K}u, kFirst + ${chunk}u);
  let lhsBase = ${lhsBase};
  let rhsBase = ${rhsBase};
  let fetchesLhs = thread < ${BM}u;
  let part = select(thread - ${BM}u, thread, fetchesLhs);
  let quad = select(part ${rhsQuad}, part ${lhsQuad}, fetchesLhs);
  let depth = select(part ${rhsDepth}, part ${lhsDepth}, fetchesLhs) * 4u;
  let threadCol = thread % ${BN / 4 / QN}u;
  let threadRow = thread / ${BN / 4 / QN}u;
# for (const m of quadsM) for (const n of quadsN) for (let i = 0; i < 4; i++) {
  var c${m}_${i}_${n} = vec4f();
# }
  for (var k = kFirst; ; k += 16u) {
    var next: mat4x4f;
    if (fetchesLhs) {
      next = lhsFetch(lhsBase, firstRow + quad * 4u, k + depth, kEnd);
    } else {
      next = rhsFetch(rhsBase, firstCol + quad * 4u, k + depth, kEnd);
    }
    if (k > kFirst) {
      for (var q = 0u; q < 16u; q++) {
# for (const m of quadsM) {
        let a${m} = lhsTile[q * ${BM / 4}u + threadRow + ${m * BM / 4 / QM}u];
# }
# for (const n of quadsN) {
        let b${n} = rhsTile[q * ${BN / 4}u + threadCol + ${n * BN / 4 / QN}u];
# }
# for (const m of quadsM) for (const n of quadsN) for (let i = 0; i < 4; i++) {
        c${m}_${i}_${n} = fma(vec4f(a${m}[${i}]), b${n}, c${m}_${i}_${n});
# }
      }
    }
    if (k >= kEnd) { break; }
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
      if (fetchesLhs) {
        lhsTile[(depth + i) * ${BM / 4}u + quad] = next[i];
      } else {
        rhsTile[(depth + i) * ${BN / 4}u + quad] = next[i];
      }
    }
    workgroupBarrier();
  }
# for (const m of quadsM) for (const n of quadsN) {
  store(slice, firstRow + threadRow * 4u + ${m * BM / QM}u, firstCol + threadCol * 4u + ${n * BN / QN}u,
    array<vec4f, 4>(c${m}_0_${n}, c${m}_1_${n}, c${m}_2_${n}, c${m}_3_${n}));
# }
}

fn store(slice: u32, row: u32, col: u32, block: array<vec4f, 4>) {
  var rows = block;
  for (var i = 0u; i < 4u; i++) {
    if (row + i >= ${M}u) { break; }
    let at = (slice * ${M}u + row + i) * ${N}u + col;
# if (wide) {
    if (col < ${N}u) { put(at, rows[i]); }
# } else {
    for (var j = 0u; j < 4u; j++) {
      if (col + j < ${N}u) { put(at + j, rows[i][j]); }
    }
# }
  }
}
