/** Sums of rows by an index. */
import { storage } from "./kernel.ts";

export { storage };
