// Attention with one subgroup a workgroup, without barriers. Each lane owns OWN rows (queries; keys in
// the "key" pass) as the components of T and walks over the other side in blocks of BLOCK rows: a lane
// loads different rows of them, and constant-lane broadcasts share their values. What a lane sums up
// lies in workgroup memory. Few memory operations in the source: each costs 10 ms of compilation.
# const forward = pass === "forward", query = pass === "query", key = pass === "key";
# const T = OWN === 1 ? "f32" : `vec${OWN}f`;
# const U = OWN === 1 ? "u32" : `vec${OWN}u`;
# const W = Math.ceil(D / 4);
# const owned = key ? M : N, others = key ? N : M;
# const ragged = others % BLOCK !== 0;
# const LOADS = Math.ceil(BLOCK / LANES);
# const ks = Array.from({ length: BLOCK }, (_, k) => k);
# const own = Array.from({ length: OWN }, (_, r) => r);
# const four = [0, 1, 2, 3];
# const of = (value, r) => OWN === 1 ? value : `${value}.${"xyzw"[r]}`;
# const pack = (f) => `${T}(${own.map(f).join(", ")})`;
# const tree = (f, list) => list.length === 1 ? list[0] : f(tree(f, list.slice(0, list.length / 2)), tree(f, list.slice(list.length / 2)));
${declarations}
# const results = forward ? ["sums"] : query ? ["dq"] : ["dk", "dv"];
# for (const name of results) {
var<workgroup> ${name}: array<${T}, ${4 * W * LANES}>;
# }
# // Four consecutive dimensions of a row; past the last, that one again.
# const load4 = (array, row) => {
#   if (vector) return `${array}[${row} * ${W}u + d]`;
#   return `vec4f(${four.map((e) => `${array}[${row} * ${D}u + min(4u * d + ${e}u, ${D - 1}u)]`).join(", ")})`;
# };
# const loadOthers = (array) => {
#   for (let j = 0; j < LOADS; j++) {
    let x${j} = ${load4(array, "otherRow" + j)};
#   }
# };
# const spread = (k, e) => `subgroupBroadcast(x${Math.floor(k / LANES)}.${"xyzw"[e]}, ${k % LANES}u)`;
# const dot = (result, ownArray, otherArray) => {
#   for (const k of ks) {
  var ${result}${k} = ${T}();
#   }
  for (var d = 0u; d < width; d++) {
#   loadOthers(otherArray);
#   for (const r of own) {
    let r${r} = ${load4(ownArray, "row" + r)};
#   }
#   for (const e of four) {
#     const value = pack((r) => `r${r}.${"xyzw"[e]}`);
    let o${e} = ${vector ? value : "select(" + T + "(), " + value + ", 4u * d + " + e + "u < " + D + "u)"};
#   }
#   for (let k0 = 0; k0 < BLOCK; k0 += GROUP) {
#     for (const e of four) {
#       for (const k of ks.slice(k0, k0 + GROUP)) {
    ${result}${k} += ${spread(k, e)} * o${e};
#       }
#     }
#   }
  }
# };
# const accumulate = (result, weights, otherArray, factor) => {
  for (var d = 0u; d < width; d++) {
#   loadOthers(otherArray);
    let at = d * ${4 * LANES}u + lane;
#   for (const e of four) {
    var t${e} = ${result}[at + ${e * LANES}u]${factor};
#   }
#   for (const k of ks) {
#     for (const e of four) {
    t${e} += ${spread(k, e)} * ${weights}${k};
#     }
#   }
#   for (const e of four) {
    ${result}[at + ${e * LANES}u] = t${e};
#   }
  }
# };
# const store = (array, result, factor) => {
  for (var d = 0u; d < width; d++) {
#   for (const e of four) {
    let t${e} = ${result}[d * ${4 * LANES}u + ${e * LANES}u + lane] * ${factor};
#   }
#   for (const r of own) {
    if (first + ${r}u < ${owned}u) {
#     if (vector) {
      ${array}[row${r} * ${W}u + d] = vec4f(${four.map((e) => of("t" + e, r)).join(", ")});
#     } else {
#       for (const e of four) {
      if (4u * d + ${e}u < ${D}u) { ${array}[row${r} * ${D}u + 4u * d + ${e}u] = ${of("t" + e, r)}; }
#       }
#     }
    }
#   }
  }
# };
# const scores = () => {
#   dot("s", key ? "k_data" : "q_data", key ? "q_data" : "k_data");
#   for (const k of ks) {
  s${k} = s${k} * ${scale};
#     const other = ragged ? `min(other + ${k}u, ${others - 1}u)` : `(other + ${k}u)`;
#     if (masked) {
#       const at = (r) => key ? `${other} * ${M}u + place${r}` : `place${r} * ${M}u + ${other}`;
  s${k} = max(s${k} + ${pack((r) => "mask_data[maskBase + " + at(r) + "]")}, ${T}(-3.0e38));
#     }
#     if (causal) {
  s${k} = select(${T}(-3.0e38), s${k}, ${key ? "places <= " : "places >= "}${U}(other + ${k}u));
#     }
#     if (ragged) {
  s${k} = select(${T}(-3.0e38), s${k}, other + ${k}u < ${others}u);
#     }
#   }
# };
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * ${gridX}u + group.x;
  # if (spill) {
  if (index >= ${tiles * heads}u) { return; }
  # }
  let head = index / ${tiles}u;
  let tileStart = (index % ${tiles}u) * ${LANES * OWN}u;
  let first = tileStart + lane * ${OWN}u;
  let ownBase = head * ${owned}u;
  let otherBase = head * ${others}u;
  # if (masked) {
  let maskBase = ${maskBase};
  # }
  # for (const r of own) {
  let place${r} = min(first + ${r}u, ${owned - 1}u);
  let row${r} = ownBase + place${r};
  # }
  # if (causal) {
  let places = ${U}(${own.map((r) => "place" + r).join(", ")});
  # }
  // Not a constant, or the compiler would unroll the loops.
  let width = ${W}u + group.z;
  # if (forward) {
  var top = ${T}(-1.0e30);
  var mass = ${T}();
  # }
  # if (query) {
  let lse = ${pack((r) => "lse_data[row" + r + "]")};
  let delta = ${pack((r) => "delta_data[row" + r + "]")};
  # }
  # const begin = key && causal ? `tileStart / ${BLOCK}u * ${BLOCK}u` : "0u";
  # const end = !key && causal ? `min(${others}u, tileStart + ${LANES * OWN}u)` : `${others}u`;
  for (var other = ${begin}; other < ${end}; other += ${BLOCK}u) {
  # for (let j = 0; j < LOADS; j++) {
  #   const index = `other + ${LANES > BLOCK ? "lane % " + BLOCK + "u" : "lane + " + j * LANES + "u"}`;
  let otherRow${j} = otherBase + ${ragged ? "min(" + index + ", " + (others - 1) + "u)" : index};
  # }
  # if (key) {
  #   for (let j = 0; j < LOADS; j++) {
  let lse${j} = lse_data[otherRow${j}];
  let delta${j} = delta_data[otherRow${j}];
  #   }
  # }
  # scores();
  # if (forward) {
  let higher = max(top, ${tree((a, b) => "max(" + a + ", " + b + ")", ks.map((k) => "s" + k))});
  let fade = exp(top - higher);
  top = higher;
  #   for (const k of ks) {
  let p${k} = exp(s${k} - higher);
  #   }
  mass = mass * fade + ${tree((a, b) => "(" + a + " + " + b + ")", ks.map((k) => "p" + k))};
  #   accumulate("sums", "p", "v_data", " * fade");
  # } else {
  #   dot("dp", key ? "v_data" : "g_data", key ? "g_data" : "v_data");
  #   for (const k of ks) {
  #     const shared = (name) => key ? `subgroupBroadcast(${name}${Math.floor(k / LANES)}, ${k % LANES}u)` : name;
  let p${k} = exp(s${k} - ${shared("lse")});
  let ds${k} = p${k} * (dp${k} - ${shared("delta")});
  #   }
  #   if (maskGradient) {
  #     for (const k of ks) {
  #       for (const r of own) {
  if (first + ${r}u < ${N}u && other + ${k}u < ${M}u) { ds_data[row${r} * ${M}u + other + ${k}u] = ${of("ds" + k, r)}; }
  #       }
  #     }
  #   }
  #   if (query) {
  #     accumulate("dq", "ds", "k_data", "");
  #   } else {
  #     accumulate("dv", "p", "g_data", "");
  #     accumulate("dk", "ds", "q_data", "");
  #   }
  # }
  }
  # if (forward) {
  let found = mass > ${T}();
  let inverse = select(${T}(), 1.0 / mass, found);
  #   store("out_data", "sums", "inverse");
  let total = select(top, top + log(mass), found);
  #   for (const r of own) {
  if (first + ${r}u < ${N}u) { lse_data[row${r}] = ${of("total", r)}; }
  #   }
  # }
  # if (query) {
  #   store("dq_data", "dq", scale);
  # }
  # if (key) {
  #   store("dk_data", "dk", scale);
  #   store("dv_data", "dv", "1.0");
  # }
}
