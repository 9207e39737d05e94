/** Moving averages. */
import { storage } from "./kernel.ts";

export { storage };
