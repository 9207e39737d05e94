/** The norm of all gradients. */
import { storage } from "./kernel.ts";

export { storage };
