import { deepStrictEqual as deepEqual, strictEqual as equal, throws } from "node:assert/strict";
import { gradients, matmul, read, sum, type Tensor, tensor } from "../engine/mod.ts";
import { close, values } from "./close.ts";
import { checkGradients } from "./gradcheck.ts";

const make = (shape: number[], seed = 1) =>
  tensor(values(shape.reduce((n, size) => n * size, 1), seed), shape);

/** Element (batch index, i, j) of a stack of matrices whose batch dimensions broadcast. */
function element(x: Tensor, batch: number[], i: number, j: number): number {
  const own = x.shape.slice(0, -2);
  const used = batch.slice(batch.length - own.length).map((at, d) => own[d] === 1 ? 0 : at);
  const flat = [...used, i, j].reduce((at, index, d) => at * x.shape[d] + index, 0);
  return x.host![flat];
}

Deno.test("matmul() broadcasts batch dimensions when they differ", async () => {
  for (
    const [left, right] of [
      [[2, 1, 3, 4], [5, 4, 2]],
      [[2, 3, 4], [4, 2]],
      [[3, 4], [2, 3, 4, 2]],
      [[1, 2, 3, 4], [2, 1, 4, 5]],
    ]
  ) {
    const [a, b] = [make(left, 1), make(right, 2)];
    const out = matmul(a, b);
    const [rows, columns] = out.shape.slice(-2);
    const expected = Array.from({ length: out.size }, (_, flat) => {
      const [i, j] = [Math.floor(flat / columns) % rows, flat % columns];
      let rest = Math.floor(flat / (rows * columns));
      const batch = out.shape.slice(0, -2).reverse().map((size) => {
        const at = rest % size;
        rest = Math.floor(rest / size);
        return at;
      }).reverse();
      return Array.from({ length: 4 }, (_, k) => element(a, batch, i, k) * element(b, batch, k, j))
        .reduce((x, y) => x + y);
    });
    close(await read(out), expected, 1e-5, `[${left}] x [${right}]`);
  }
});

Deno.test("matmul() drops the dimension of vectors when an operand has one dimension", async () => {
  const [a, b] = [tensor([1, 2, 3], [3]), tensor([4, 5, 6, 7, 8, 9], [3, 2])];
  const products = [matmul(a, b), matmul(b, a, { transA: true }), matmul(a, a)];
  deepEqual(products.map(({ shape }) => shape), [[2], [2], []]);
  deepEqual([...await read(products[0])], [40, 46]);
  deepEqual([...await read(products[1])], [40, 46]);
  deepEqual([...await read(products[2])], [14]);
});

Deno.test("matmul() throws when operands do not fit", () => {
  throws(() => matmul(make([2, 3]), make([4, 2])), /inner sizes of \[2, 3\] and \[4, 2\] differ/);
  throws(() => matmul(make([2, 2, 3]), make([3, 3, 2])), /do not broadcast/);
  throws(() => matmul(make([3]), make([3, 2]), { transA: true }), /cannot multiply/);
  throws(() => matmul(make([1, 1]), tensor(new Uint32Array(1), [1, 1])), /f32 and u32/);
});

Deno.test("matmul() has gradients for each transposition when batches broadcast", async () => {
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      for (const [batchA, batchB] of [[2, 2], [3, 1], [1, 3]]) {
        await checkGradients(`matmul ${transA} ${transB} ${batchA} ${batchB}`, {
          inputs: [
            { shape: [batchA, ...(transA ? [4, 3] : [3, 4])] },
            { shape: [batchB, ...(transB ? [5, 4] : [4, 5])] },
          ],
          f: (a, b) => matmul(a, b, { transA, transB }),
        });
      }
    }
  }
});

Deno.test("matmul() sums a shared factor's gradient in one product when rows have a batch", () => {
  const [x, weight] = [make([8, 16, 4]), make([6, 4])];
  const [gradient] = gradients(sum(matmul(x, weight, { transB: true })), [weight]);
  const products: Tensor[] = [];
  for (let pending = [gradient!]; pending.length > 0;) {
    products.push(...pending.filter(({ op }) => op === "matmul"));
    pending = pending.flatMap(({ inputs }) => inputs);
  }
  equal(products.length, 1);
  deepEqual(products[0].inputs.map(({ shape }) => shape), [[1, 128, 6], [1, 128, 4]]);
});
