/** Which frames are remembered, on frame numbers alone. */
import { deepStrictEqual as deepEqual, throws } from "node:assert/strict";
import { CONFIGS } from "../model/config.ts";
import {
  selectClosestConditioning,
  type SelectionConfig,
  type SelectionQuery,
  selectMemory,
  type TrackingOutputs,
} from "../model/sam2/memory_selection.ts";

const CONFIG: SelectionConfig = CONFIGS["sam2.1_hiera_t"];

const identity = (frames: readonly number[]) => new Map(frames.map((t) => [t, t]));

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

const outputs = (
  conditioning: readonly number[],
  tracked: readonly number[],
): TrackingOutputs<number> => ({
  conditioning: identity(conditioning),
  tracked: identity(tracked),
});

function select(
  known: TrackingOutputs<number>,
  query: Partial<SelectionQuery> & { frame: number },
  changes: Partial<SelectionConfig> = {},
) {
  const full = { numFrames: 100, reverse: false, training: false, ...query };
  const { memories, pointers, pointerSpan } = selectMemory(known, full, { ...CONFIG, ...changes });
  return {
    memories: memories.map(({ output, temporalRow }) => [output, temporalRow]),
    pointers: pointers.map(({ output, distance }) => [output, distance]),
    pointerSpan,
  };
}

Deno.test("selectMemory() takes the prompted frame and the six before when all are known", () => {
  const { memories } = select(outputs([0], range(1, 10)), { frame: 10 });
  deepEqual(memories, [[0, 6], [4, 5], [5, 4], [6, 3], [7, 2], [8, 1], [9, 0]]);
});

Deno.test("selectMemory() skips missing frames when a video has just begun", () => {
  const { memories, pointers } = select(outputs([0], [1]), { frame: 2 });
  deepEqual(memories, [[0, 6], [1, 0]]);
  deepEqual(pointers, [[0, 2], [1, 1]]);
});

Deno.test("selectMemory() takes multiples of the stride behind the previous frame in evaluation", () => {
  const known = outputs([0], range(1, 11));
  const changes = { memoryTemporalStrideForEval: 3 };
  const { memories } = select(known, { frame: 11 }, changes);
  deepEqual(memories, [[0, 6], [3, 3], [6, 2], [9, 1], [10, 0]]);
  const trained = select(known, { frame: 11, training: true }, changes);
  deepEqual(trained.memories, select(known, { frame: 11 }).memories);
});

Deno.test("selectMemory() mirrors itself when time runs backwards", () => {
  const numFrames = 30;
  const mirror = (frames: readonly number[]) => frames.map((t) => numFrames - 1 - t);
  const [conditioning, tracked] = [[3, 20], [...range(4, 13), 25]];
  const forward = select(outputs(conditioning, tracked), { frame: 13, numFrames });
  const backward = select(outputs(mirror(conditioning), mirror(tracked)), {
    frame: numFrames - 1 - 13,
    numFrames,
    reverse: true,
  });
  const back = (pairs: number[][]) => pairs.map(([t, value]) => [numFrames - 1 - t, value]);
  deepEqual(back(backward.memories), forward.memories);
  deepEqual(back(backward.pointers), forward.pointers);
});

Deno.test("selectMemory() takes pointers of 15 frames back and of all prompted ones", () => {
  const { pointers, pointerSpan } = select(outputs([0, 2], range(3, 40)), { frame: 40 });
  deepEqual(pointers.map(([t]) => t), [0, 2, ...range(25, 40).reverse()]);
  deepEqual(pointers[0], [0, 40]);
  deepEqual(pointerSpan, 15);
});

Deno.test("selectMemory() uses pointers from the future in training only", () => {
  const known = outputs([0, 9], [1, 2, 3, 4]);
  const distances = (training: boolean, useSignedTposEncToObjPtrs: boolean) =>
    select(known, { frame: 5, training }, { useSignedTposEncToObjPtrs }).pointers;
  const recent = [[4, 1], [3, 2], [2, 3], [1, 4]];
  deepEqual(distances(false, true), [[0, 5], ...recent]);
  deepEqual(distances(true, true), [[0, 5], [9, -4], ...recent]);
  deepEqual(distances(true, false), [[0, 5], [9, 4], ...recent]);
});

Deno.test("selectMemory() never divides distances by zero when the video has one frame", () => {
  deepEqual(select(outputs([0], []), { frame: 0, numFrames: 1 }).pointerSpan, 1);
});

Deno.test("selectMemory() fills a slot with a prompted frame that was not selected", () => {
  const known = outputs([0, 5, 8, 30], [6, 7]);
  const { memories } = select(known, { frame: 9 }, { maxCondFramesInAttn: 2 });
  // 8 and 30 are selected; 5 comes in as the frame four before.
  deepEqual(memories, [[8, 6], [30, 6], [5, 3], [6, 2], [7, 1]]);
});

Deno.test("selectMemory() fails when no frame has been prompted", () => {
  throws(() => select(outputs([], [1, 2]), { frame: 3 }), /Frame 3 cannot be tracked/);
});

Deno.test("selectClosestConditioning() takes both neighbours, then the nearest others", () => {
  const known = identity([0, 10, 14, 30]);
  const chosen = (
    limit: number,
  ) => [...selectClosestConditioning(13, known, limit).selected.keys()];
  deepEqual(chosen(2), [10, 14]);
  deepEqual(chosen(3), [10, 14, 0]);
  deepEqual(chosen(-1), [0, 10, 14, 30]);
  deepEqual([...selectClosestConditioning(13, known, 3).rest.keys()], [30]);
  throws(() => chosen(1), /maxCondFramesInAttn is 1/);
});
