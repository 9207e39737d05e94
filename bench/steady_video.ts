/** A video with full memories, which few frames had to be tracked for. */
import { mul } from "../engine/mod.ts";
import type { Sam2Config } from "../model/config.ts";
import { inBatches } from "../model/predictors/object_batches.ts";
import { keepRows, stackRows } from "../model/predictors/shared_rows.ts";
import { resolveOptions } from "../model/predictors/video_options.ts";
import { VideoPredictor } from "../model/predictors/video_predictor.ts";

/** A predictor, with default options, of a video whose frames are all the same. */
export class SteadyVideo extends VideoPredictor {
  /**
   * Remembers what it would after many frames. Every object was prompted on frame 0, and that frame
   * propagated; copies of its output stand for those of the later frames, as far as a predictor keeps
   * them: those near frame 0 and as many behind the next frame. They have memory of their own, in the
   * batches in which frames are tracked.
   *
   * @returns the next frame to track.
   */
  async fill(config: Sam2Config): Promise<number> {
    const { reach } = resolveOptions(config, {});
    const next = 2 * reach + 2;
    for (const objects of await inBatches([...this.objects.values()], config)) {
      const known = objects.map((object) => object.at(0)!);
      const outputs = [
        stackRows(known.map(({ mask }) => mask)),
        stackRows(known.map(({ pointer }) => pointer)),
        stackRows(known.map(({ score }) => score)),
        stackRows(known.map(({ memory }) => memory!)),
      ];
      for (let frame = 1; frame < next; frame++) {
        const copies = outputs.map((values) => mul(values, 1));
        const [mask, pointer, score, memory] = await keepRows(copies, this.leftovers);
        objects.forEach((object, i) => {
          const output = { mask: mask[i], pointer: pointer[i], score: score[i], memory: memory[i] };
          object.store(object.outputs, "tracked", frame, output);
          object.direction.set(frame, false);
        });
      }
    }
    await this.leftovers.free();
    return next;
  }
}
