/** Decoupled feature enhancement. */
import { storage } from "./kernel.ts";

export { storage };
