// A team of TEAM invocations (one subgroup, or one workgroup with a tree in workgroup memory) reduces
// one line that lies contiguous in memory. CHUNKS > 0 keeps the line in registers; 0 loops over it.
${declarations}
# if (!subgroups) {
var<workgroup> tree: array<f32, ${TEAM}>;
# }
# const V = vector ? 4 : 1;
# const T = vector ? "vec4f" : "f32";
# const N = size / V;
# const elements = inputs.filter((input) => input.kind === "element");
# const axes = inputs.filter((input) => input.kind === "axis");
# const ragged = N % TEAM !== 0;
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = group.y * ${gridX}u + group.x;
  # if (spill) {
  if (line >= ${lines}u) { return; }
  # }
  let base = line * ${N}u;
  # for (const { name } of inputs.filter((input) => input.kind === "line")) {
  let ${name} = ${name}_data[line];
  # }
  # for (let c = 0; c < CHUNKS; c++) {
  #   const last = ragged && c === CHUNKS - 1;
  #   const own = "lane + " + c * TEAM + "u";
  let n_${c} = ${last ? "min(" + own + ", " + (N - 1) + "u)" : own};
  #   for (const { name } of elements) {
  let ${name}_${c} = ${name}_data[base + n_${c}];
  #   }
  # }
  # for (const { name, kind, term, finish } of reductions) {
  #   const neutral = kind === "max" ? `${T}(-3.4028234e38)` : `${T}(0.0)`;
  #   const combine = (a, b) => kind === "max" ? `max(${a}, ${b})` : `${a} + ${b}`;
  var ${name}_sum = ${neutral};
  #   for (let c = 0; c < CHUNKS; c++) {
  {
  #     for (const input of elements) {
    let ${input.name} = ${input.name}_${c};
  #     }
  #     for (const input of axes.filter((axis) => term.includes(axis.name))) {
    let ${input.name} = ${input.name}_data[n_${c}];
  #     }
  #     if (ragged && c === CHUNKS - 1) {
    ${name}_sum = select(${name}_sum, ${combine(name + "_sum", term)}, lane + ${c * TEAM}u < ${N}u);
  #     } else {
    ${name}_sum = ${combine(name + "_sum", term)};
  #     }
  }
  #   }
  #   if (!CHUNKS) {
  for (var n = lane; n < ${N}u; n += ${TEAM}u) {
  #     for (const input of elements) {
    let ${input.name} = ${input.name}_data[base + n];
  #     }
  #     for (const input of axes.filter((axis) => term.includes(axis.name))) {
    let ${input.name} = ${input.name}_data[n];
  #     }
    ${name}_sum = ${combine(name + "_sum", term)};
  }
  #   }
  #   const part = (i) => `${name}_sum.${"xyzw"[i]}`;
  #   if (vector) {
  var ${name}_all = ${combine(combine(part(0), part(1)), combine(part(2), part(3)))};
  #   } else {
  var ${name}_all = ${name}_sum;
  #   }
  #   if (subgroups) {
  #     for (let step = 1; step < TEAM; step *= 2) {
  #       const other = `subgroupShuffleXor(${name}_all, ${step}u)`;
  ${name}_all = ${combine(name + "_all", other)};
  #     }
  #   } else {
  tree[lane] = ${name}_all;
  #     for (let step = TEAM / 2; step >= 1; step /= 2) {
  workgroupBarrier();
  if (lane < ${step}u) { tree[lane] = ${combine("tree[lane]", "tree[lane + " + step + "u]")}; }
  #     }
  workgroupBarrier();
  ${name}_all = tree[0];
  workgroupBarrier();
  #   }
  let ${name} = ${finish(name + "_all")};
  # }
  # const store = (n) => {
  #   const applied = epilogue.apply(vector ? `((base + ${n}) * 4u)` : `(base + ${n})`, "value", V);
    let value = ${result};
    ${applied.statements}
    out[base + ${n}] = ${applied.value};
  # };
  # for (let c = 0; c < CHUNKS; c++) {
  #   if (ragged && c === CHUNKS - 1) {
  if (lane + ${c * TEAM}u < ${N}u)
  #   }
  {
  #   for (const input of elements) {
    let ${input.name} = ${input.name}_${c};
  #   }
  #   for (const input of axes) {
    let ${input.name} = ${input.name}_data[n_${c}];
  #   }
  #   store(`n_${c}`);
  }
  # }
  # if (!CHUNKS) {
  for (var n = lane; n < ${N}u; n += ${TEAM}u) {
  #   for (const input of elements) {
    let ${input.name} = ${input.name}_data[base + n];
  #   }
  #   for (const input of axes) {
    let ${input.name} = ${input.name}_data[n];
  #   }
  #   store("n");
  }
  # }
  # for (const { name, value } of lineOutputs) {
  if (lane == 0u) { ${name}_out[line] = ${value}; }
  # }
}
