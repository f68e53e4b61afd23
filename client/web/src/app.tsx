/** One client: what is shown when, and the keys that work everywhere in it. */

import { Chat } from "./chat";
import { Dialogs } from "./dialogs";
import { Frame } from "./frame";
import { Logo } from "./icons";
import { ModelContext, useModel, type Model } from "./model";
import { Sidebar } from "./sidebar";
import { SignIn } from "./sign_in";

export function App({ model }: { model: Model }) {
  return <ModelContext.Provider value={model}><Shown /></ModelContext.Provider>;
}

function Shown() {
  const { announcement, elsewhere, place, ready, session, start, timeline } = useModel();
  if (!session.value) return <SignIn />;
  if (elsewhere.value) {
    return (
      <Frame class="door"><div class="door-card">
        <Logo size={56} /><h1>Homing is open in another tab</h1>
        <p class="quiet">One tab at a time, so that nothing is sent twice.</p>
        <button class="primary" onClick={() => void start(true)}>Use it here</button>
      </div></Frame>
    );
  }
  if (!ready.value) return <Frame class="door" aria-busy="true"><Logo size={56} /><h1 class="hidden">Homing</h1></Frame>;
  const isOpen = place.value !== null && timeline.value !== null;
  return (
    <Frame class={`app ${isOpen ? "is-open" : ""}`}>
      <Sidebar />
      {isOpen ? <Chat key={place.value!.conversation} /> : (
        <div class="nothing"><Logo size={72} /><h2>Pick a chat, or start one</h2><p class="quiet"><kbd>Ctrl</kbd> <kbd>K</kbd> finds people and chats.</p></div>
      )}
      <Dialogs />
      <div class="hidden" aria-live="polite">{announcement.value}</div>
    </Frame>
  );
}

/** A key that was pressed in this client. */
export function onKey(model: Model, event: KeyboardEvent): void {
  const { dialog, go, items, place, ready, space } = model;
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
    requestAnimationFrame(() => (space.element().querySelector<HTMLElement>(`a[href="#/c/${left}"]`) ?? space.element().querySelector<HTMLElement>(".finder"))?.focus());
  } else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const all = items.value;
    const at = all.findIndex((item) => item.state.id === place.value?.conversation);
    const next = all[at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) go(next.state.id);
  }
}

/** The network is back, or somebody looks again: no need to wait. */
export function wakeUp(model: Model, isOnline: boolean): void {
  if (model.ready.value && (isOnline || model.theClient().state === "waiting")) model.theClient().connect();
}
