/** Banded 1-D resampling along an axis. */
import { storage } from "./kernel.ts";

export { storage };
