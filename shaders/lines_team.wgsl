// A team of TEAM invocations, a subgroup or a workgroup with a tree in workgroup memory, reduces one
// line after another of those that lie contiguous in memory. CHUNKS values of a line an invocation
// keeps in variables, and what all lines share with them in others; the rest of a line is read again
// by each pass.
${declarations}
${sizes}
# if (!subgroups) {
var<workgroup> tree: array<f32, ${TEAM}>;
# }
# const V = vector ? 4 : 1;
# const T = vector ? "vec4f" : "f32";
# const elements = inputs.filter((input) => input.kind === "element");
# const axes = inputs.filter((input) => input.kind === "axis");
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let length = sizes.length;
  # for (const name of constants) {
  let ${name} = bitcast<f32>(sizes.${name});
  # }
  # for (let c = 0; c < CHUNKS; c++) {
  #   const own = "lane + " + c * TEAM + "u";
  let n_${c} = ${ragged && c === CHUNKS - 1 ? "min(" + own + ", length - 1u)" : own};
  #   for (const { name } of axes) {
  let ${name}_${c} = ${name}_data[n_${c}];
  #   }
  # }
  let first = (group.y * sizes.gridWidth + group.x) * sizes.perTeam;
  let end = min(first + sizes.perTeam, sizes.lines);
  for (var line = first; line < end; line++) {
  let base = line * length;
  # for (const { name } of inputs.filter((input) => input.kind === "line")) {
  let ${name} = ${name}_data[line];
  # }
  # for (let c = 0; c < CHUNKS; c++) for (const { name } of elements) {
  let ${name}_${c} = ${name}_data[base + n_${c}];
  # }
  # // Runs `body` for each chunk with the element's names in scope; past the end, not at all.
  # const each = (reads, body) => {
  #   const used = axes.filter((axis) => reads.includes(axis.name));
  #   for (let c = 0; c < CHUNKS; c++) {
  #     const guard = ragged && c === CHUNKS - 1 ? `if (lane + ${c * TEAM}u < length) ` : "";
  ${guard}{
    let n = n_${c};
  #     for (const { name } of [...elements, ...used]) {
    let ${name} = ${name}_${c};
  #     }
  #     body();
  }
  #   }
  #   if (rest) {
  for (var n = lane + ${CHUNKS * TEAM}u; n < length; n += ${TEAM}u) {
  #     for (const { name } of elements) {
    let ${name} = ${name}_data[base + n];
  #     }
  #     for (const { name } of used) {
    let ${name} = ${name}_data[n];
  #     }
  #     body();
  }
  #   }
  # };
  # for (const { name, kind, term, finish } of reductions) {
  #   const join = combine(kind, 1);
  var ${name}_sum = ${T}(${START[kind]});
  #   each(term, () => {
    ${name}_sum = ${combine(kind, V)(name + "_sum", term)};
  #   });
  #   const part = (i) => `${name}_sum.${"xyzw"[i]}`;
  #   if (vector) {
  var ${name}_all = ${join(join(part(0), part(1)), join(part(2), part(3)))};
  #   } else {
  var ${name}_all = ${name}_sum;
  #   }
  #   if (subgroups) {
  #     for (let step = 1; step < TEAM; step *= 2) {
  #       const other = `subgroupShuffleXor(${name}_all, ${step}u)`;
  ${name}_all = ${join(name + "_all", other)};
  #     }
  #   } else {
  tree[lane] = ${name}_all;
  #     for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] = ${join("tree[lane]", "tree[lane + " + step + "u]")}; }
  #     }
  workgroupBarrier();
  ${name}_all = tree[0];
  workgroupBarrier();
  #   }
  let ${name} = ${finish(name + "_all", 1)};
  # }
  # each(result, () => {
  #   const applied = epilogue.apply(vector ? "((base + n) * 4u)" : "(base + n)", "value", V);
    let value = ${result};
    ${applied.statements}
    out[base + n] = ${applied.value};
  # });
  # for (const { name, value } of lineOutputs) {
  if (lane == 0u) { ${name}_out[line] = ${value}; }
  # }
  }
}
