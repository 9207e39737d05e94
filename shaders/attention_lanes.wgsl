// Attention with one subgroup a workgroup, without barriers. Each lane owns OWN rows (queries; keys in
// the "key" pass) as the components of T and walks over the other side in blocks of BLOCK rows: a lane
// loads different rows of them, and constant-lane broadcasts share their values. What a lane sums up
// lies in workgroup memory. Few memory operations in the source: each costs 10 ms of compilation. The
// "query" pass also makes what the softmax gradient subtracts from each row, for the "key" pass.
# const forward = pass === "forward", query = pass === "query", key = pass === "key";
# const T = OWN === 1 ? "f32" : `vec${OWN}f`;
# const U = OWN === 1 ? "u32" : `vec${OWN}u`;
# const owned = key ? "keys" : "queries", others = key ? "queries" : "keys";
# const mine = key ? ["k", "v"] : ["q", "g"], theirs = key ? ["q", "g"] : ["k", "v"];
# const LOADS = Math.ceil(BLOCK / LANES);
# const ks = Array.from({ length: BLOCK }, (_, k) => k);
# const own = Array.from({ length: OWN }, (_, r) => r);
# const four = [0, 1, 2, 3];
# const of = (value, r) => OWN === 1 ? value : `${value}.${"xyzw"[r]}`;
# const pack = (f) => `${T}(${own.map(f).join(", ")})`;
# const tree = (f, list) => list.length === 1 ? list[0] : f(tree(f, list.slice(0, list.length / 2)), tree(f, list.slice(list.length / 2)));
${declarations}
${sizes}
# const results = forward ? ["sums"] : query ? ["dq"] : ["dk", "dv"];
# for (const name of results) {
var<workgroup> ${name}: array<${T}, ${4 * ROOM * LANES}>;
# }
# // Four consecutive dimensions of a row; past the last, that one again.
# const load4 = (name, row) => {
#   if (vector) return `${name}_data[${name}${row} + d]`;
#   return `vec4f(${four.map((e) => `${name}_data[${name}${row} + min(4u * d + ${e}u, dim - 1u)]`).join(", ")})`;
# };
# const loadOthers = (name) => {
#   for (let j = 0; j < LOADS; j++) {
    let x${j} = ${load4(name, "Other" + j)};
#   }
# };
# const spread = (k, e) => `subgroupBroadcast(x${Math.floor(k / LANES)}.${"xyzw"[e]}, ${k % LANES}u)`;
# // Runs `body` for each vector of a row with its place `d`: some of them in a round of the loop, where
# // it would take too many rounds otherwise.
# const eachVector = (body) => {
#   if (VECTORS === 1) {
  for (var d = 0u; d < width; d++) {
#     body();
  }
#   } else {
  for (var next = 0u; next < width; next += ${VECTORS}u) {
#     for (let i = 0; i < VECTORS; i++) {
  {
    let d = next + ${i}u;
#       body();
  }
#     }
  }
#   }
# };
# const dot = (result, ownName, otherName) => {
#   for (const k of ks) {
  var ${result}${k} = ${T}();
#   }
#   eachVector(() => {
#   loadOthers(otherName);
#   for (const r of own) {
    let r${r} = ${load4(ownName, r)};
#   }
#   for (const e of four) {
#     const value = pack((r) => `r${r}.${"xyzw"[e]}`);
    let o${e} = ${vector ? value : "select(" + T + "(), " + value + ", 4u * d + " + e + "u < dim)"};
#   }
#   for (let k0 = 0; k0 < BLOCK; k0 += GROUP) {
#     for (const e of four) {
#       for (const k of ks.slice(k0, k0 + GROUP)) {
    ${result}${k} += ${spread(k, e)} * o${e};
#       }
#     }
#   }
#   });
# };
# const accumulate = (result, weights, name, factor) => {
#   eachVector(() => {
#   loadOthers(name);
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
#   });
# };
# const store = (name, result, factor) => {
  for (var d = 0u; d < width; d++) {
#   for (const e of four) {
    let t${e} = ${result}[d * ${4 * LANES}u + ${e * LANES}u + lane] * ${factor};
#   }
#   for (const r of own) {
    if (first + ${r}u < ${owned}) {
#     if (vector) {
      ${name}_data[stored${r} + d] = vec4f(${four.map((e) => of("t" + e, r)).join(", ")});
#     } else {
#       for (const e of four) {
      if (4u * d + ${e}u < dim) { ${name}_data[stored${r} + 4u * d + ${e}u] = ${of("t" + e, r)}; }
#       }
#     }
    }
#   }
  }
# };
# const scores = () => {
#   dot("s", mine[0], theirs[0]);
#   for (const k of ks) {
  s${k} = s${k} * scale;
#     const other = ragged ? `min(other + ${k}u, ${others} - 1u)` : `(other + ${k}u)`;
#     if (masked) {
#       const at = (r) => key ? `${other} * keys + place${r}` : `place${r} * keys + ${other}`;
  s${k} = max(s${k} + ${pack((r) => "mask_data[maskBase + " + at(r) + "]")}, ${T}(-3.0e38));
#     }
#     if (causal) {
  s${k} = select(${T}(-3.0e38), s${k}, ${key ? "places <= " : "places >= "}${U}(other + ${k}u));
#     }
#     if (ragged) {
  s${k} = select(${T}(-3.0e38), s${k}, other + ${k}u < ${others});
#     }
#   }
# };
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * sizes.gridWidth + group.x;
  if (index >= sizes.tiles * sizes.batch * sizes.heads) { return; }
  let queries = sizes.queries;
  let keys = sizes.keys;
  let scale = bitcast<f32>(sizes.scale);
# if (!vector) {
  let dim = sizes.dim;
# }
  let plane = index / sizes.tiles;
  let image = plane / sizes.heads;
  let head = plane % sizes.heads;
  let tileStart = (index % sizes.tiles) * ${LANES * OWN}u;
  let first = tileStart + lane * ${OWN}u;
# for (const name of forward ? ["q", "k", "v"] : ["q", "k", "v", "g"]) {
  let ${name}Base = ${base(name)};
# }
# if (masked) {
  let maskBase = image * sizes.maskBatch + head * sizes.maskHead;
# }
# for (const r of own) {
  let place${r} = min(first + ${r}u, ${owned} - 1u);
  let stored${r} = ${base(stored)} + place${r} * sizes.${stored}Row;
#   for (const name of forward ? ["q"] : mine) {
  let ${name}${r} = ${name}Base + place${r} * sizes.${layoutOf(name)}Row;
#   }
#   if (!key) {
  let row${r} = plane * queries + place${r};
#   }
# }
# if (causal) {
  let places = ${U}(${own.map((r) => "place" + r).join(", ")});
  # }
  let width = sizes.width;
  # if (forward) {
  var top = ${T}(-1.0e30);
  var mass = ${T}();
  # }
  # if (query) {
  let lse = ${pack((r) => "lse_data[row" + r + "]")};
#   for (const r of own) {
  var product${r} = 0.0;
#   }
  for (var d = 0u; d < width; d++) {
#   for (const r of own) {
#     if (vector) {
    product${r} += dot(out_data[stored${r} + d], g_data[g${r} + d]);
#     } else {
#       for (const e of four) {
    if (4u * d + ${e}u < dim) { product${r} += out_data[stored${r} + 4u * d + ${e}u] * g_data[g${r} + 4u * d + ${e}u]; }
#       }
#     }
#   }
  }
  let delta = ${pack((r) => "product" + r)};
#   for (const r of own) {
  if (first + ${r}u < queries) { delta_data[row${r}] = ${of("delta", r)}; }
#   }
# }
# const begin = key && causal ? `tileStart / ${BLOCK}u * ${BLOCK}u` : "0u";
  # // The gradient of the mask is stored for hidden scores too.
  # const end = !key && causal && !maskGradient ? `min(${others}, tileStart + ${LANES * OWN}u)` : others;
  for (var other = ${begin}; other < ${end}; other += ${BLOCK}u) {
  # for (let j = 0; j < LOADS; j++) {
  #   const index = `other + ${LANES > BLOCK ? "lane % " + BLOCK + "u" : "lane + " + j * LANES + "u"}`;
  let otherPlace${j} = ${ragged ? "min(" + index + ", " + others + " - 1u)" : index};
#   for (const name of theirs) {
  let ${name}Other${j} = ${name}Base + otherPlace${j} * sizes.${layoutOf(name)}Row;
#   }
  # }
  # if (key) {
  #   for (let j = 0; j < LOADS; j++) {
  let lse${j} = lse_data[plane * queries + otherPlace${j}];
  let delta${j} = delta_data[plane * queries + otherPlace${j}];
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
  #   accumulate("sums", "p", "v", " * fade");
  # } else {
  #   dot("dp", mine[1], theirs[1]);
  #   for (const k of ks) {
  #     const shared = (name) => key ? `subgroupBroadcast(${name}${Math.floor(k / LANES)}, ${k % LANES}u)` : name;
  let p${k} = exp(s${k} - ${shared("lse")});
  let ds${k} = p${k} * (dp${k} - ${shared("delta")});
  #   }
  #   if (maskGradient) {
  #     for (const k of ks) {
  #       for (const r of own) {
  if (first + ${r}u < queries && other + ${k}u < keys) { ds_data[row${r} * keys + other + ${k}u] = ${of("ds" + k, r)}; }
  #       }
  #     }
  #   }
  #   if (query) {
  #     accumulate("dq", "ds", "k", "");
  #   } else {
  #     accumulate("dv", "p", "g", "");
  #     accumulate("dk", "ds", "q", "");
  #   }
  # }
  }
  # if (forward) {
  let found = mass > ${T}();
  let inverse = select(${T}(), 1.0 / mass, found);
  #   store("out", "sums", "inverse");
  let total = select(top, top + log(mass), found);
  #   for (const r of own) {
  if (first + ${r}u < queries) { lse_data[row${r}] = ${of("total", r)}; }
  #   }
  # }
  # if (query) {
  #   store("dq", "dq", "scale");
  # }
  # if (key) {
  #   store("dk", "dk", "scale");
  #   store("dv", "dv", "1.0");
  # }
}
