/** What browsers and newer nodes have, and node 18 does not without a flag. */

import { webcrypto } from "node:crypto";

if (!globalThis.crypto) Object.defineProperty(globalThis, "crypto", { value: webcrypto });
