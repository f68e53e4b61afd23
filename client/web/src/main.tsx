/** The page: one client that has it to itself, or at `/demo` two people side by side. */

import { effect } from "@preact/signals";
import { render } from "preact";

import { App, onKey, wakeUp } from "./app";
import { startDemo } from "./demo";
import { Model } from "./model";
import { wholePage } from "./session";
import { applyTheme } from "./theme";

function startAlone(root: HTMLElement): Model[] {
  const model = new Model(wholePage);
  effect(() => {
    document.title = model.unreadTotal.value ? `(${model.unreadTotal.value}) Homing` : "Homing";
  });
  addEventListener("hashchange", model.onPlace);
  addEventListener("keydown", (event) => onKey(model, event));
  render(<App model={model} />, root);
  void model.start();
  return [model];
}

applyTheme();
const root = document.getElementById("app")!;
const models = location.pathname === "/demo" ? startDemo(root) : startAlone(root);
addEventListener("online", () => models.forEach((model) => wakeUp(model, true)));
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") models.forEach((model) => wakeUp(model, false));
});
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
