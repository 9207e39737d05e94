/** Einstein summation over one or two operands. */
import { numel, type Shape, show } from "../shape.ts";
import type { Tensor } from "../tensor.ts";
import { mul } from "./elementwise.ts";
import { matmul } from "./matmul.ts";
import { permute, reshape } from "./movement.ts";
import { sum } from "./reduce.ts";

/** A tensor whose dimensions are named by letters. */
interface Labelled {
  readonly tensor: Tensor;
  readonly labels: string;
}

/**
 * `einsum("bhqd,bhkd->bhqk", a, b)`: multiplies and sums over the letters that the result lacks.
 *
 * @throws {RangeError} for an equation that does not fit the operands, a letter twice in one term
 * (diagonals), or "...".
 */
export function einsum(equation: string, ...operands: readonly Tensor[]): Tensor {
  const { terms, result } = parseEquation(equation, operands.map((x) => x.shape));
  const labelled = operands.map((tensor, i) => ({ tensor, labels: terms[i] }));
  const others = (i: number) => result + terms.filter((_, j) => j !== i).join("");
  const reduced = labelled.map((x, i) => sumOut(x, others(i)));
  if (reduced.length === 1) return arrange(reduced[0], result);
  return arrange(contract(reduced[0], reduced[1], result), result);
}

/** The letters of each operand and of the result, checked against the shapes. */
export function parseEquation(
  equation: string,
  shapes: readonly Shape[],
): { terms: string[]; result: string; sizes: Map<string, number> } {
  const match = equation.replaceAll(" ", "").match(/^([a-zA-Z]*(?:,[a-zA-Z]*)?)->([a-zA-Z]*)$/);
  if (!match) throw new RangeError(`einsum: "${equation}" is not of the form "ij,jk->ik".`);
  const terms = match[1].split(",");
  const result = match[2];
  if (terms.length !== shapes.length) {
    throw new RangeError(
      `einsum: "${equation}" has ${terms.length} terms for ${shapes.length} tensors.`,
    );
  }
  const sizes = new Map<string, number>();
  terms.forEach((term, i) => {
    if (term.length !== shapes[i].length) {
      throw new RangeError(`einsum: "${term}" does not name the dimensions of ${show(shapes[i])}.`);
    }
    [...term].forEach((letter, d) => {
      const known = sizes.get(letter);
      if (known !== undefined && known !== shapes[i][d]) {
        throw new RangeError(`einsum: "${letter}" is ${known} and ${shapes[i][d]}.`);
      }
      sizes.set(letter, shapes[i][d]);
    });
  });
  for (const term of [...terms, result]) {
    if (new Set(term).size !== term.length) {
      throw new RangeError(`einsum: a letter stands twice in "${term}".`);
    }
  }
  const unknown = [...result].find((letter) => !sizes.has(letter));
  if (unknown) throw new RangeError(`einsum: "${unknown}" is in the result only.`);
  return { terms, result, sizes };
}

/** Sums over letters that nothing else uses. */
function sumOut({ tensor, labels }: Labelled, used: string): Labelled {
  const dims = [...labels].flatMap((letter, i) => used.includes(letter) ? [] : [i]);
  if (dims.length === 0) return { tensor, labels };
  return { tensor: sum(tensor, dims), labels: keep(labels, used) };
}

const keep = (labels: string, wanted: string) =>
  [...labels].filter((letter) => wanted.includes(letter)).join("");
const drop = (labels: string, unwanted: string) =>
  [...labels].filter((letter) => !unwanted.includes(letter)).join("");

function contract(first: Labelled, second: Labelled, result: string): Labelled {
  const leading = drop(result, keep(first.labels, second.labels))[0];
  // The operand whose own letters come first in the result goes left, which saves a permutation.
  const swap = leading !== undefined && !first.labels.includes(leading);
  const [a, b] = swap ? [second, first] : [first, second];
  const shared = keep(a.labels, b.labels);
  const batch = keep(result, shared);
  const summed = drop(shared, result);
  const own = { a: drop(a.labels, shared), b: drop(b.labels, shared) };
  const left = layout(a, batch, own.a, summed);
  const right = layout(b, batch, summed, own.b);
  const out = summed === ""
    ? mul(left.tensor, right.tensor)
    : matmul(left.tensor, right.tensor, { transA: left.swapped, transB: right.swapped });
  const labels = batch + own.a + own.b;
  const size = (letter: string) => {
    const from = a.labels.includes(letter) ? a : b;
    return from.tensor.shape[from.labels.indexOf(letter)];
  };
  return { tensor: reshape(out, [...labels].map(size)), labels };
}

/** A view [batch, rows, columns], or [batch, columns, rows] where that is how the data lies. */
function layout(
  x: Labelled,
  batch: string,
  rows: string,
  columns: string,
): { tensor: Tensor; swapped: boolean } {
  const swapped = x.labels === batch + columns + rows && rows !== "" && columns !== "";
  const order = swapped ? batch + columns + rows : batch + rows + columns;
  const sizes = (letters: string) =>
    numel([...letters].map((letter) => x.tensor.shape[x.labels.indexOf(letter)]));
  const [second, third] = swapped ? [columns, rows] : [rows, columns];
  const tensor = reshape(arrange(x, order), [sizes(batch), sizes(second), sizes(third)]);
  return { tensor, swapped };
}

function arrange({ tensor, labels }: Labelled, order: string): Tensor {
  return permute(tensor, [...order].map((letter) => labels.indexOf(letter)));
}
