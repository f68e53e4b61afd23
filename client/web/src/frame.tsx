/** The element around a client: the page's main part, or a part of it where a page holds several. */

import type { ComponentChildren } from "preact";

import { useModel } from "./model";

export function Frame({ children, ...rest }: { children: ComponentChildren; class: string; "aria-busy"?: "true" }) {
  return useModel().space.label ? <div {...rest}>{children}</div> : <main {...rest}>{children}</main>;
}
