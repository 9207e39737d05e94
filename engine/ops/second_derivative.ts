/** The gradient rule of gradient kernels: there is none. */

/** @throws {Error} when called: the gradient of `op` cannot be differentiated again. */
export function noSecondDerivative(op: string): () => never {
  return () => {
    throw new Error(`Second derivatives of ${op} are not supported.`);
  };
}
