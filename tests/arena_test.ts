import { type AdapterProfile, add, gradients, mean, square, tensor } from "../engine/mod.ts";
import { layOut, liveBytes, pieceSizes, type Span } from "../engine/compile/arena.ts";
import { canonicalise } from "../engine/compile/graph.ts";
import { type Plan } from "../engine/compile/plan.ts";
import { CONFIGS } from "../model/config.ts";
import { ImageEncoder } from "../model/sam2/image_encoder.ts";
import { Hiera } from "../model/sam2/hiera.ts";
import { Random } from "../train/data/random.ts";
import { deepStrictEqual as deepEqual, ok, strictEqual as equal } from "node:assert/strict";
import { planFor } from "./plans.ts";

const together = (a: Span, b: Span) => a.first <= b.last && b.first <= a.last;

Deno.test("liveBytes() is the largest sum of what is needed at one time", () => {
  equal(liveBytes([]), 0);
  equal(liveBytes([{ bytes: 5, first: 0, last: 2 }, { bytes: 7, first: 2, last: 3 }]), 12);
  equal(liveBytes([{ bytes: 5, first: 0, last: 1 }, { bytes: 7, first: 2, last: 3 }]), 7);
});

Deno.test("layOut() shares memory between spans that are not needed together", () => {
  const chain = Array.from({ length: 9 }, (_, i): Span => ({ bytes: 32, first: i, last: i + 1 }));
  equal(layOut(chain).bytes, 64);
  deepEqual(layOut([]), { offsets: [], bytes: 0 });
});

Deno.test("pieceSizes() cuts an arena into equal pieces and a rest", () => {
  deepEqual(pieceSizes(0, 8), []);
  deepEqual(pieceSizes(8, 8), [8]);
  deepEqual(pieceSizes(20, 8), [8, 8, 4]);
});

Deno.test("layOut() keeps random spans apart and within pieces, near the bound", () => {
  const random = new Random(3);
  for (let round = 0; round < 40; round++) {
    const pieceBytes = round % 2 === 0 ? Infinity : 3000 + 32 * random.integer(2000);
    const spans = Array.from({ length: 120 }, (): Span => {
      const first = random.integer(100);
      return { bytes: 32 * (1 + random.integer(64)), first, last: first + random.integer(30) };
    });
    const { offsets, bytes } = layOut(spans, pieceBytes);
    for (const [i, a] of spans.entries()) {
      ok(offsets[i] + a.bytes <= bytes);
      equal(
        Math.floor(offsets[i] / pieceBytes),
        Math.floor((offsets[i] + a.bytes - 1) / pieceBytes),
      );
      for (const [j, b] of spans.entries()) {
        if (j >= i || !together(a, b)) continue;
        ok(offsets[i] >= offsets[j] + b.bytes || offsets[j] >= offsets[i] + a.bytes, `${j} ${i}`);
      }
    }
    const slack = pieceBytes === Infinity ? 1.2 : 1.6;
    ok(bytes < slack * liveBytes(spans), `${bytes / liveBytes(spans)}`);
  }
});

/** A CPU adapter, so that the plan does not depend on the machine. */
const PROFILE: AdapterProfile = {
  class: "cpu",
  software: true,
  lanes: 8,
  maxInvocations: 1024,
  workgroupBytes: 32768,
  maxBindings: 16,
  maxBindingBytes: 2 ** 27,
  maxGrid: 65535,
  f16: true,
};

/** The plan of all gradients of Hiera T. */
function gradientPlan(size: number, checkpointing: boolean): Plan {
  const trunk = new Hiera(CONFIGS["sam2.1_hiera_t"].trunk);
  trunk.checkpointing = checkpointing;
  const images = tensor(new Float32Array(3 * size * size), [1, 3, size, size]);
  const loss = trunk.forward(images).map((x) => mean(square(x))).reduce(add);
  const parameters = trunk.namedParameters().map(([, p]) => p);
  return planFor([loss, ...gradients(loss, parameters).map((g) => g!)], PROFILE, 0);
}

// The greedy layout measures 1.009 to 1.026 of the bound, by which kernels read what and when.
for (const size of [256, 1024]) {
  Deno.test(`plans of Hiera T's gradients at ${size} px take at most 1.05 of the bytes alive at once`, () => {
    for (const checkpointing of [false, true]) {
      const { arenaBytes, tenancies } = gradientPlan(size, checkpointing);
      const bound = liveBytes(tenancies);
      ok(arenaBytes >= bound && arenaBytes <= 1.05 * bound, `${arenaBytes / bound}`);
    }
  });
}

Deno.test("plans of Hiera T's gradients at 1024 px fit into a buffer of 2 GiB, into a third when checkpointed", () => {
  const plain = gradientPlan(1024, false).arenaBytes;
  const checkpointed = gradientPlan(1024, true).arenaBytes;
  ok(plain < 2 ** 31, `${plain}`);
  ok(checkpointed < plain / 3, `${checkpointed} of ${plain}`);
});

/** The plan of the gradients of an image encoder's trainable parameters, and the ops in it. */
function encoderPlan(frozen: boolean) {
  const size = 256;
  const encoder = new ImageEncoder(CONFIGS["sam2.1_hiera_t"]);
  if (frozen) { for (const [, p] of encoder.trunk.namedParameters()) p.trainable = false; }
  const images = tensor(new Float32Array(3 * size * size), [1, 3, size, size]);
  const loss = encoder.forward(images).levels.map((x) => mean(square(x))).reduce(add);
  const wanted = encoder.namedParameters().map(([, p]) => p).filter((p) => p.trainable);
  const targets = [loss, ...gradients(loss, wanted).flatMap((g) => g ?? [])];
  const { nodes } = canonicalise(targets);
  return { ...planFor(targets, PROFILE, 0), ops: new Set(nodes.map(({ op }) => op)) };
}

Deno.test("a frozen trunk keeps no values for gradients and computes none", () => {
  const [all, neck] = [encoderPlan(false), encoderPlan(true)];
  for (const op of ["attentionBackward", "layerNormBackward"] as const) {
    deepEqual([all.ops.has(op), neck.ops.has(op)], [true, false]);
  }
  ok(neck.arenaBytes < all.arenaBytes / 5, `${neck.arenaBytes} of ${all.arenaBytes}`);
  // The values of each block of the trunk make room for those of the next.
  const attended = neck.tenancies.filter(({ name }) => /^(attention|erf|matmul) /.test(name));
  const longest = Math.max(...attended.map(({ first, last }) => last - first));
  ok(longest < neck.steps.length / 4, `${longest} of ${neck.steps.length} dispatches`);
});
