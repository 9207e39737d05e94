/** Attention and its gradients in plain loops, in double precision. */
import type { AttentionShape } from "../shaders/attention.ts";

/** Inputs of an attention; `mask` where the shape has one. */
export interface AttentionInputs {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly g: Float32Array;
  readonly mask?: Float32Array | undefined;
}

/** Everything that the kernels compute. */
export function attentionReference(shape: AttentionShape, inputs: AttentionInputs) {
  const { batch, heads, queries: N, keys: M, dim: D, scale, causal } = shape;
  const { q, k, v, g, mask } = inputs;
  const rows = batch * heads * N;
  const out = new Float64Array(q.length);
  const lse = new Float64Array(rows);
  const dq = new Float64Array(q.length);
  const dk = new Float64Array(k.length);
  const dv = new Float64Array(v.length);
  const ds = new Float64Array(rows * M);
  const p = new Float64Array(M);
  const dp = new Float64Array(M);
  // Rows of queries and keys are those of [batch, length, heads, dim].
  const place = (length: number, row: number) => {
    const [head, n] = [Math.floor(row / length), row % length];
    const [b, h] = [Math.floor(head / heads), head % heads];
    return ((b * length + n) * heads + h) * D;
  };
  for (let row = 0; row < rows; row++) {
    const head = Math.floor(row / N), i = row % N;
    const b = Math.floor(head / heads), h = head % heads;
    const [maskBatch, maskHeads] = shape.mask ?? [1, 1];
    const plane = (maskBatch > 1 ? b : 0) * maskHeads + (maskHeads > 1 ? h : 0);
    let top = -Infinity;
    for (let j = 0; j < M; j++) {
      let s = 0;
      for (let d = 0; d < D; d++) s += q[place(N, row) + d] * k[place(M, head * M + j) + d];
      p[j] = s * scale + (mask ? mask[(plane * N + i) * M + j] : 0);
      if (causal && j > i) p[j] = -Infinity;
      top = Math.max(top, p[j]);
    }
    let mass = 0;
    for (let j = 0; j < M; j++) mass += p[j] = top === -Infinity ? 0 : Math.exp(p[j] - top);
    lse[row] = mass > 0 ? top + Math.log(mass) : Math.fround(-1e30);
    let delta = 0;
    for (let j = 0; j < M; j++) {
      if (mass > 0) p[j] /= mass;
      dp[j] = 0;
      for (let d = 0; d < D; d++) {
        out[place(N, row) + d] += p[j] * v[place(M, head * M + j) + d];
        dp[j] += g[place(N, row) + d] * v[place(M, head * M + j) + d];
      }
      delta += p[j] * dp[j];
    }
    for (let j = 0; j < M; j++) {
      const slope = ds[row * M + j] = p[j] * (dp[j] - delta);
      for (let d = 0; d < D; d++) {
        dq[place(N, row) + d] += scale * slope * k[place(M, head * M + j) + d];
        dk[place(M, head * M + j) + d] += scale * slope * q[place(N, row) + d];
        dv[place(M, head * M + j) + d] += p[j] * g[place(N, row) + d];
      }
    }
  }
  return { out, lse, dq, dk, dv, ds };
}
