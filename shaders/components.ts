/** Connected components. */
import { storage } from "./kernel.ts";

export { storage };
