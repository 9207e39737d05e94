/** The AdamW update. */
import { storage } from "./kernel.ts";

export { storage };
