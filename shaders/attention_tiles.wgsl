// Attention by workgroups of TX x TY invocations. A workgroup owns 4 TY rows (queries; keys in the "key"
// pass) and walks over the other side in tiles of 4 TX rows. Each invocation holds 4 x 4 scores and, for
// each group of 4 TX dimensions, 4 rows x 4 dimensions of what is summed up; operands are staged in
// workgroup memory, STEP rows or dimensions at a time.
# const forward = pass === "forward", query = pass === "query", key = pass === "key";
# const R4 = TY, ROWS = 4 * TY, TILE = 4 * TX, STEP = 16, THREADS = TX * TY;
# const owned = key ? "keys" : "queries", others = key ? "queries" : "keys";
# const mine = key ? ["k", "v"] : ["q", "g"], theirs = key ? ["q", "g"] : ["k", "v"];
# const GROUPS = Math.ceil(D / TILE);
# const groups = Array.from({ length: GROUPS }, (_, j) => j);
# const four = [0, 1, 2, 3];
# const names = "xyzw";
${declarations}
${sizes}
var<workgroup> tile: array<vec4f, ${TILE * R4}>;
var<workgroup> left: array<vec4f, ${STEP * R4}>;
var<workgroup> right: array<vec4f, ${STEP * TX}>;
# if (!key) {
var<workgroup> shared_rows: array<vec4f, ${THREADS}>;
# }
# const at = (name, row) => `${name}_data[${name}Base + (${row}) * sizes.${layoutOf(name)}Row`;
# // target[d][row] = name[start + row][d0 + d], zero past the ends.
# const stageTransposed = (target, name, start, limit, rows) => {
    for (var i = lane; i < ${rows * STEP}u; i += ${THREADS}u) {
      let r = i / ${STEP}u;
      let d = d0 + i % ${STEP}u;
      var value = 0.0;
      if (${start} + r < ${limit} && d < ${D}u) { value = ${at(name, start + " + r")} + d]; }
      ${target}[(i % ${STEP}u) * ${rows / 4}u + r / 4u][r % 4u] = value;
    }
# };
# const dot = (result, ownName, otherName) => {
#   for (const r of four) {
  var ${result}${r} = vec4f();
#   }
  for (var d0 = 0u; d0 < ${D}u; d0 += ${STEP}u) {
    workgroupBarrier();
#   stageTransposed("left", ownName, "first", owned, ROWS);
#   stageTransposed("right", otherName, "other", others, TILE);
    workgroupBarrier();
    for (var d = 0u; d < ${STEP}u; d++) {
      let a = left[d * ${R4}u + ty];
      let b = right[d * ${TX}u + tx];
#   for (const r of four) {
      ${result}${r} += a.${names[r]} * b;
#   }
    }
  }
# };
# // Lays the 4 x 4 values of each invocation out as tile[other row][own row].
# const share = (values) => {
  workgroupBarrier();
#   for (const j of four) {
  tile[(4u * tx + ${j}u) * ${R4}u + ty] = vec4f(${four.map((r) => values + r + "." + names[j]).join(", ")});
#   }
# };
# const accumulate = (result, name) => {
  for (var k0 = 0u; k0 < ${TILE}u; k0 += ${STEP}u) {
#   for (const j of groups) {
    workgroupBarrier();
    for (var i = lane; i < ${STEP * TILE}u; i += ${THREADS}u) {
      let k = other + k0 + i / ${TILE}u;
      let d = ${j * TILE}u + i % ${TILE}u;
      var value = 0.0;
      if (k < ${others} && d < ${D}u) { value = ${at(name, "k")} + d]; }
      right[i / 4u][i % 4u] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < ${STEP}u; k++) {
      let a = tile[(k0 + k) * ${R4}u + ty];
      let b = right[k * ${TX}u + tx];
#     for (const r of four) {
      ${result}${j}_${r} += a.${names[r]} * b;
#     }
    }
#   }
  }
# };
# const store = (name, result, factor) => {
#   for (const r of four) {
  if (first + 4u * ty + ${r}u < ${owned}) {
    let at = storedBase + (first + 4u * ty + ${r}u) * sizes.${stored}Row;
#     for (const j of groups) {
#       for (const e of four) {
    if (${j * TILE + e}u + 4u * tx < ${D}u) { ${name}_data[at + ${j * TILE + e}u + 4u * tx] = ${result}${j}_${r}.${names[e]} * ${factor(r)}; }
#       }
#     }
  }
#   }
# };
# const scores = () => {
#   dot("s", mine[0], theirs[0]);
  let theirs = vec4u(other + 4u * tx) + vec4u(0u, 1u, 2u, 3u);
#   for (const r of four) {
  s${r} = s${r} * scale;
#     if (masked) {
#       const score = (e) => key ? `inside.${names[e]} * keys + place${r}` : `place${r} * keys + inside.${names[e]}`;
  {
    let inside = min(theirs, vec4u(${others} - 1u));
    s${r} = max(s${r} + vec4f(${four.map((e) => "mask_data[maskBase + " + score(e) + "]").join(", ")}), vec4f(-3.0e38));
  }
#     }
#     if (causal) {
  s${r} = select(vec4f(-3.0e38), s${r}, ${key ? "theirs >= " : "theirs <= "}vec4u(place${r}));
#     }
  s${r} = select(vec4f(-3.0e38), s${r}, theirs < vec4u(${others}));
#   }
# };
@compute @workgroup_size(${TX * TY})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let index = group.y * sizes.gridWidth + group.x;
  if (index >= sizes.tiles * sizes.batch * sizes.heads) { return; }
  let queries = sizes.queries;
  let keys = sizes.keys;
  let scale = bitcast<f32>(sizes.scale);
  let tx = lane % ${TX}u;
  let ty = lane / ${TX}u;
  let plane = index / sizes.tiles;
  let image = plane / sizes.heads;
  let head = plane % sizes.heads;
  let first = (index % sizes.tiles) * ${ROWS}u;
# for (const name of forward ? ["q", "k", "v"] : ["q", "k", "v", "g"]) {
  let ${name}Base = ${base(name)};
# }
  let storedBase = ${base(stored)};
# if (masked) {
  let maskBase = image * sizes.maskBatch + head * sizes.maskHead;
  # }
  # for (const r of four) {
  let place${r} = min(first + 4u * ty + ${r}u, ${owned} - 1u);
  # }
  # for (const name of forward ? ["sum"] : query ? ["dq"] : ["dk", "dv"]) {
  #   for (const j of groups) {
  #     for (const r of four) {
  var ${name}${j}_${r} = vec4f();
  #     }
  #   }
  # }
  # if (forward) {
  var top = vec4f(-1.0e30);
  var mass = vec4f();
  # }
  # if (query) {
  let lse = vec4f(${four.map((r) => "lse_data[plane * queries + place" + r + "]").join(", ")});
  var part = vec4f();
  for (var d = tx; d < ${D}u; d += ${TX}u) {
    part += vec4f(${four.map((r) => "out_data[storedBase + place" + r + " * sizes." + stored + "Row + d] * " + at("g", "place" + r) + " + d]").join(", ")});
  }
  shared_rows[lane] = part;
  workgroupBarrier();
  var delta = vec4f();
  for (var i = 0u; i < ${TX}u; i++) { delta += shared_rows[ty * ${TX}u + i]; }
#   for (const r of four) {
  if (tx == 0u && first + 4u * ty + ${r}u < queries) { delta_data[plane * queries + place${r}] = delta.${names[r]}; }
#   }
# }
# const begin = key && causal ? `first / ${TILE}u * ${TILE}u` : "0u";
  # // The gradient of the mask is stored for hidden scores too.
  # const end = !key && causal && !maskGradient ? `min(${others}, first + ${ROWS}u)` : others;
  for (var other = ${begin}; other < ${end}; other += ${TILE}u) {
  # scores();
  # if (forward) {
  #   const most = four.map((r) => `max(max(s${r}.x, s${r}.y), max(s${r}.z, s${r}.w))`).join(", ");
  shared_rows[lane] = vec4f(${most});
  workgroupBarrier();
  var higher = top;
  for (var i = 0u; i < ${TX}u; i++) { higher = max(higher, shared_rows[ty * ${TX}u + i]); }
  let fade = exp(top - higher);
  top = higher;
  #   for (const r of four) {
  let p${r} = exp(s${r} - higher.${names[r]});
  #     for (const j of groups) {
  sum${j}_${r} *= fade.${names[r]};
  #     }
  #   }
  #   const masses = four.map((r) => `(p${r}.x + p${r}.y) + (p${r}.z + p${r}.w)`).join(", ");
  mass = mass * fade + vec4f(${masses});
  #   share("p");
  #   accumulate("sum", "v");
  # } else {
  #   if (key) {
  let near = min(theirs, vec4u(${others} - 1u));
  let lse = vec4f(${four.map((e) => "lse_data[plane * queries + near." + names[e] + "]").join(", ")});
  let delta = vec4f(${four.map((e) => "delta_data[plane * queries + near." + names[e] + "]").join(", ")});
  #   }
  #   for (const r of four) {
  let p${r} = exp(s${r} - ${key ? "lse" : "lse." + names[r]});
  #   }
  #   if (key) {
  #     share("p");
  #     accumulate("dv", "g");
  #   }
  #   dot("dp", mine[1], theirs[1]);
  #   for (const r of four) {
  let ds${r} = p${r} * (dp${r} - ${key ? "delta" : "delta." + names[r]});
  #     if (maskGradient) {
  #       for (const e of four) {
  if (first + 4u * ty + ${r}u < queries && theirs.${names[e]} < keys) { ds_data[(plane * queries + place${r}) * keys + theirs.${names[e]}] = ds${r}.${names[e]}; }
  #       }
  #     }
  #   }
  #   share("ds");
  #   accumulate(query ? "dq" : "dk", theirs[0]);
  # }
  }
  # if (forward) {
  workgroupBarrier();
  shared_rows[lane] = mass;
  workgroupBarrier();
  var total = vec4f();
  for (var i = 0u; i < ${TX}u; i++) { total += shared_rows[ty * ${TX}u + i]; }
  let found = total > vec4f();
  let inverse = select(vec4f(), 1.0 / total, found);
  let lse = select(top, top + log(total), found);
  #   for (const r of four) {
  if (tx == 0u && first + 4u * ty + ${r}u < queries) { lse_data[plane * queries + place${r}] = lse.${names[r]}; }
  #   }
  #   store("out", "sum", (r) => `inverse.${names[r]}`);
  # }
  # if (query) {
  #   store("dq", "dq", () => "scale");
  # }
  # if (key) {
  #   store("dk", "dk", () => "scale");
  #   store("dv", "dv", () => "1.0");
  # }
}
