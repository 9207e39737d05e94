import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";
import { parseEquation } from "../engine/ops/einsum.ts";
import { einsum, readAll, type Tensor, tensor } from "../engine/mod.ts";
import { numel } from "../engine/shape.ts";

Deno.test("parseEquation() gives letters and sizes", () => {
  const { terms, result, sizes } = parseEquation("ij, jk -> ik", [[2, 3], [3, 4]]);
  deepEqual([terms, result], [["ij", "jk"], "ik"]);
  deepEqual([...sizes], [["i", 2], ["j", 3], ["k", 4]]);
});

Deno.test("parseEquation() names what is wrong", () => {
  throws(() => parseEquation("ij,jk", [[1, 1], [1, 1]]), /not of the form/);
  throws(() => parseEquation("ij->i", [[1, 1], [1, 1]]), /1 terms for 2/);
  throws(() => parseEquation("ij,jk->ik", [[2, 3], [4, 5]]), /"j" is 3 and 4/);
  throws(() => parseEquation("ij,jk->ik", [[2], [4, 5]]), /does not name/);
  throws(() => parseEquation("ii->i", [[2, 2]]), /stands twice/);
  throws(() => parseEquation("i->j", [[2]]), /in the result only/);
});

/** Sums over every assignment of the letters. */
function reference(equation: string, operands: { shape: number[]; data: Float32Array }[]) {
  const { terms, result, sizes } = parseEquation(equation, operands.map((x) => x.shape));
  const letters = [...sizes.keys()];
  const out = new Float32Array(numel([...result].map((l) => sizes.get(l)!)));
  const at = (labels: string, index: Map<string, number>) =>
    [...labels].reduce((flat, l) => flat * sizes.get(l)! + index.get(l)!, 0);
  const total = numel(letters.map((l) => sizes.get(l)!));
  for (let n = 0; n < total; n++) {
    const index = new Map<string, number>();
    let rest = n;
    for (const l of letters) {
      index.set(l, rest % sizes.get(l)!);
      rest = Math.floor(rest / sizes.get(l)!);
    }
    const product = operands.reduce((p, x, i) => p * x.data[at(terms[i], index)], 1);
    out[at(result, index)] += product;
  }
  return out;
}

const CASES: readonly [string, number[][]][] = [
  ["ij,jk->ik", [[2, 3], [3, 4]]],
  ["ij,jk->ki", [[2, 3], [3, 4]]],
  ["ji,kj->ik", [[3, 2], [4, 3]]],
  ["bij,bjk->bik", [[3, 2, 3], [3, 3, 4]]],
  ["ibj,kjb->bki", [[2, 3, 5], [4, 5, 3]]],
  ["bchw,bkc->bkhw", [[2, 3, 2, 4], [2, 5, 3]]],
  ["abc,bd->ad", [[2, 3, 4], [3, 5]]],
  ["ab,cd->c", [[2, 3], [4, 5]]],
  ["i,j->ji", [[3], [4]]],
  ["i,i->i", [[3], [3]]],
  ["i,i->", [[3], [3]]],
  ["abc->ca", [[2, 3, 4]]],
  ["abcd,acbd->bc", [[2, 3, 4, 2], [2, 4, 3, 2]]],
];

Deno.test("einsum() agrees with the sum over all index values", async () => {
  const inputs = CASES.map(([, shapes]) =>
    shapes.map((shape) => ({
      shape,
      data: Float32Array.from({ length: numel(shape) }, (_, i) => ((i * 7) % 11) - 5),
    }))
  );
  const results: Tensor[] = CASES.map(([equation], i) =>
    einsum(equation, ...inputs[i].map((x) => tensor(x.data, x.shape)))
  );
  const values = await readAll(results);
  CASES.forEach(([equation], i) => {
    const positive = (list: Iterable<number>) => Array.from(list, (v) => v + 0);
    deepEqual(positive(values[i]), positive(reference(equation, inputs[i])), equation);
  });
});
