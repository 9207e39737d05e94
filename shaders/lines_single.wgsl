// Each invocation reduces one line, or four that lie side by side (`vector`), with elements `inner`
// apart. `named` keeps the line in variables.
${declarations}
${sizes}
# const T = vector ? "vec4f" : "f32";
# const V = vector ? 4 : 1;
# const elements = inputs.filter((input) => input.kind === "element");
# const axes = inputs.filter((input) => input.kind === "axis");
@compute @workgroup_size(${TEAM})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let line = (group.y * sizes.gridWidth + group.x) * ${TEAM}u + lane;
  if (line >= sizes.lines) { return; }
  let inner = sizes.inner;
  let base = (line / inner) * (sizes.size * inner) + line % inner;
  # for (const name of constants) {
  let ${name} = bitcast<f32>(sizes.${name});
  # }
  # for (const { name } of inputs.filter((input) => input.kind === "line")) {
  let ${name} = ${name}_data[line];
  # }
  # if (named) {
  #   for (let n = 0; n < size; n++) {
  #     for (const { name } of elements) {
  let ${name}_${n} = ${name}_data[base + ${n}u * inner];
  #     }
  #   }
  # }
  # const each = (reads, body) => {
  #   if (named) {
  #     for (let n = 0; n < size; n++) {
  {
  #       for (const { name } of elements) {
    let ${name} = ${name}_${n};
  #       }
  #       for (const { name } of axes.filter((axis) => reads.includes(axis.name))) {
    let ${name} = ${name}_data[${n}u];
  #       }
  #       body(`(base + ${n}u * inner)`);
  }
  #     }
  #   } else {
  for (var n = 0u; n < sizes.size; n++) {
  #     for (const { name } of elements) {
    let ${name} = ${name}_data[base + n * inner];
  #     }
  #     for (const { name } of axes.filter((axis) => reads.includes(axis.name))) {
    let ${name} = ${name}_data[n];
  #     }
  #     body(`(base + n * inner)`);
  }
  #   }
  # };
  # for (const { name, kind, term, finish } of reductions) {
  var ${name}_all = ${T}(${START[kind]});
  #   each(term, () => {
    ${name}_all = ${combine(kind, V)(name + "_all", term)};
  #   });
  let ${name} = ${finish(name + "_all", V)};
  # }
  # each(result, (index) => {
  #   const applied = epilogue.apply(vector ? `(${index} * 4u)` : index, "value", V);
    let value = ${result};
    ${applied.statements}
    out[${index}] = ${applied.value};
  # });
  # for (const { name, value } of lineOutputs) {
  ${name}_out[line] = ${value};
  # }
}
