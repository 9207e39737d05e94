/** A peer of the benchmark that needs no library: right at softmax, wrong at sums, without the rest. */
import { numel, operands } from "../bench/peers/layout.ts";
import { type Library, serve } from "../bench/peers/worker.ts";

function softmaxRows(data: Float32Array, width: number): Float32Array {
  return data.map((value, i) => {
    const row = data.subarray(i - i % width, i - i % width + width);
    return Math.exp(value) / row.reduce((sum, x) => sum + Math.exp(x), 0);
  });
}

const library: Library = {
  name: "fake 1.0",
  prepare(work) {
    if (work.kind !== "softmax" && work.kind !== "elementwise") return undefined;
    const [{ data, shape }] = operands(work);
    const result = work.kind === "softmax"
      ? softmaxRows(data, shape[1])
      : new Float32Array(numel(shape)).fill(1);
    return {
      run: () => console.log("a line that is not of the protocol"),
      settle: () => Promise.resolve(),
      result: () => Promise.resolve(result),
      free: () => {},
    };
  },
};

if (import.meta.main) await serve(() => Promise.resolve(library));
