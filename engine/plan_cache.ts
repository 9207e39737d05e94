/** Plans that are kept for their next run. */
import type { Executable } from "./executable.ts";

/** How much is kept. */
export interface PlanCacheLimits {
  /** Plans. */
  readonly plans: number;
  /** Dispatches of all plans: each one holds some 12 KB of host memory, its bind group included. */
  readonly dispatches: number;
}

const LIMITS: PlanCacheLimits = { plans: 256, dispatches: 200_000 };

/** What the cache needs to know of a plan. */
type Kept = Pick<Executable, "destroy"> & {
  readonly plan: { readonly steps: { readonly length: number } };
};

/** Plans by their keys. Where they are too many, those go first that were used longest ago. */
export class PlanCache<T extends Kept = Executable> {
  private readonly plans = new Map<string, T>();
  private dispatches = 0;

  /** An empty cache. */
  constructor(private readonly limits: PlanCacheLimits = LIMITS) {}

  /** The plan of a key, marked as the one used last. */
  recent(key: string): T | undefined {
    const found = this.plans.get(key);
    if (found) {
      this.plans.delete(key);
      this.plans.set(key, found);
    }
    return found;
  }

  /** The plan of a key, left where it is. */
  peek(key: string): T | undefined {
    return this.plans.get(key);
  }

  /** Keeps a plan. It stays even where it exceeds the limits by itself. */
  add(key: string, plan: T): void {
    this.delete(key);
    const more = plan.plan.steps.length;
    for (const oldest of this.plans.keys()) {
      const fits = this.plans.size < this.limits.plans &&
        this.dispatches + more <= this.limits.dispatches;
      if (fits) break;
      this.delete(oldest);
    }
    this.plans.set(key, plan);
    this.dispatches += more;
  }

  /** Forgets a plan, and frees what only it uses. */
  delete(key: string): void {
    const found = this.plans.get(key);
    if (!found) return;
    this.plans.delete(key);
    this.dispatches -= found.plan.steps.length;
    found.destroy();
  }

  /** Forgets all plans. */
  clear(): void {
    for (const key of this.plans.keys()) this.delete(key);
  }
}
