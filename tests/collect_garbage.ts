/** Host memory that is really in use: V8 frees what is dead when it likes, so tests make it do so. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes of the host's heap after dead objects are gone. Twice: finalisers free others. */
export function liveHeapBytes(): number {
  collect();
  collect();
  return Deno.memoryUsage().heapUsed;
}
