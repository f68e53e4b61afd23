/** The page: what is shown when, and the keys that work everywhere. */

import { effect } from "@preact/signals";
import { render } from "preact";

import { Chat } from "./chat";
import { Dialogs } from "./dialogs";
import { Logo } from "./icons";
import { announcement, dialog, elsewhere, go, items, onPlace, place, ready, session, start, theClient, timeline, unreadTotal } from "./model";
import { Sidebar } from "./sidebar";
import { SignIn } from "./sign_in";
import { applyTheme } from "./theme";

function App() {
  if (!session.value) return <SignIn />;
  if (elsewhere.value) {
    return (
      <main class="door"><div class="door-card">
        <Logo size={56} /><h1>Homing is open in another tab</h1>
        <p class="quiet">One tab at a time, so that nothing is sent twice.</p>
        <button class="primary" onClick={() => void start(true)}>Use it here</button>
      </div></main>
    );
  }
  if (!ready.value) return <main class="door" aria-busy="true"><Logo size={56} /><h1 class="hidden">Homing</h1></main>;
  const isOpen = place.value !== null && timeline.value !== null;
  return (
    <main class={`app ${isOpen ? "is-open" : ""}`}>
      <Sidebar />
      {isOpen ? <Chat key={place.value!.conversation} /> : (
        <div class="nothing"><Logo size={72} /><h2>Pick a chat, or start one</h2><p class="quiet"><kbd>Ctrl</kbd> <kbd>K</kbd> finds people and chats.</p></div>
      )}
      <Dialogs />
      <div class="hidden" aria-live="polite">{announcement.value}</div>
    </main>
  );
}

function onKey(event: KeyboardEvent): void {
  if (!ready.value) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    dialog.value = dialog.value === "find" ? null : "find";
  } else if (event.key === "Escape" && dialog.value) {
    event.preventDefault(); // at once: the browser's own way comes a moment later, when the next key may have opened another one
    dialog.value = null;
  } else if (event.key === "Escape" && place.value) {
    const left = place.value.conversation;
    go(null);
    requestAnimationFrame(() => (document.querySelector<HTMLElement>(`a[href="#/c/${left}"]`) ?? document.querySelector<HTMLElement>(".finder"))?.focus());
  } else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const all = items.value;
    const at = all.findIndex((item) => item.state.id === place.value?.conversation);
    const next = all[at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) go(next.state.id);
  }
}

applyTheme();
effect(() => {
  document.title = unreadTotal.value ? `(${unreadTotal.value}) Homing` : "Homing";
});
addEventListener("hashchange", onPlace);
addEventListener("keydown", onKey);
addEventListener("online", () => ready.value && theClient().connect());
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && ready.value && theClient().state === "waiting") theClient().connect();
});
render(<App />, document.getElementById("app")!);
void start();
if ("serviceWorker" in navigator) void navigator.serviceWorker.register("/sw.js").catch(() => undefined);
