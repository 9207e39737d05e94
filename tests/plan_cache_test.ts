import { deepStrictEqual as deepEqual, strictEqual as equal } from "node:assert/strict";
import { PlanCache } from "../engine/plan_cache.ts";

/** A cache of plans of so many dispatches, and the names of those that it has freed. */
function cacheOf(limits: { plans: number; dispatches: number }) {
  const freed: string[] = [];
  const cache = new PlanCache<ReturnType<typeof planOf>>(limits);
  const planOf = (name: string, dispatches: number) => ({
    plan: { steps: { length: dispatches } },
    destroy: () => void freed.push(name),
  });
  const add = (name: string, dispatches: number) => cache.add(name, planOf(name, dispatches));
  return { cache, add, freed };
}

Deno.test("PlanCache frees what was used longest ago once plans are too many", () => {
  const { cache, add, freed } = cacheOf({ plans: 2, dispatches: 100 });
  add("a", 1);
  add("b", 1);
  cache.recent("a");
  cache.peek("b");
  add("c", 1);
  deepEqual(freed, ["b"]);
  equal(cache.peek("b"), undefined);
});

Deno.test("PlanCache frees as many plans as a large one needs, and keeps one beyond all limits", () => {
  const { cache, add, freed } = cacheOf({ plans: 9, dispatches: 10 });
  for (const name of ["a", "b", "c"]) add(name, 3);
  add("d", 5);
  deepEqual(freed, ["a", "b"]);
  add("e", 11);
  deepEqual(freed, ["a", "b", "c", "d"]);
  equal(cache.peek("e")?.plan.steps.length, 11);
});

Deno.test("PlanCache frees a plan once when it is replaced, deleted or cleared", () => {
  const { cache, add, freed } = cacheOf({ plans: 3, dispatches: 10 });
  add("a", 6);
  add("a", 6);
  deepEqual(freed, ["a"]);
  cache.delete("a");
  cache.delete("a");
  deepEqual(freed, ["a", "a"]);
  add("b", 5);
  add("c", 5);
  cache.clear();
  deepEqual(freed, ["a", "a", "b", "c"]);
  add("d", 10);
  equal(freed.length, 4);
});
