/** Learning-rate schedules: factors of the base rate. */

/** Factor of the base learning rate at a step, counted from 0. */
export type Schedule = (step: number) => number;

/** What all schedules share. */
export interface ScheduleOptions {
  /** Steps of the whole run. */
  readonly steps: number;
  /** Steps at the start that rise linearly from near 0; the decay follows. */
  readonly warmup?: number;
}

/** The same rate at all steps. */
export const constantRate: Schedule = (): number => 1;

/** Half a cosine from 1 to `final` (after the warm-up). */
export function cosine({ final = 0, ...options }: ScheduleOptions & { final?: number }): Schedule {
  return decay(options, (t) => final + (1 - final) * 0.5 * (1 + Math.cos(Math.PI * t)));
}

/** `(1 - t)^power`, t the share of the run that is done (after the warm-up). */
export function poly({ power = 0.9, ...options }: ScheduleOptions & { power?: number }): Schedule {
  return decay(options, (t) => (1 - t) ** power);
}

function decay({ steps, warmup = 0 }: ScheduleOptions, factor: (t: number) => number): Schedule {
  if (!(steps >= 1 && warmup >= 0 && warmup <= steps)) {
    throw new RangeError(`A schedule of ${steps} steps cannot have ${warmup} steps of warm-up.`);
  }
  return (step) => {
    if (step < warmup) return (step + 1) / warmup;
    const t = (step - warmup) / Math.max(steps - warmup, 1);
    return factor(Math.min(t, 1));
  };
}
