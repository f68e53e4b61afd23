/** Dark or light: as the system says, unless the person chose. */

import { signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";
const KEY = "homing.theme";

export const theme = signal<Theme>((localStorage.getItem(KEY) as Theme | null) ?? "auto");

export function setTheme(to: Theme): void {
  theme.value = to;
  localStorage.setItem(KEY, to);
  applyTheme();
}

export function applyTheme(): void {
  if (theme.value === "auto") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme.value;
}
