/** Running sums along an axis. */
import { storage } from "./kernel.ts";

export { storage };
