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
      {isOpen && <h1 class="hidden chat-alone">Homing</h1>}
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
  const { dialog, go, items, place, query, ready, space } = model;
  if (!ready.value) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    find(model);
  } else if (event.key === "Escape" && !dialog.value && document.activeElement === field(model)) {
    event.preventDefault();
    if (query.value) query.value = "";
    else comeBack(model);
  } else if (event.key === "Escape" && dialog.value) {
    event.preventDefault(); // at once: the browser's own way comes a moment later, when the next key may have opened another one
    dialog.value = null;
  } else if (event.key === "Escape" && place.value) {
    const left = place.value.conversation;
    go(null);
    requestAnimationFrame(() => (space.element().querySelector<HTMLElement>(`a[href="#/c/${left}"]`) ?? field(model))?.focus());
  } else if (event.altKey && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
    event.preventDefault();
    const all = items.value;
    const at = all.findIndex((item) => item.state.id === place.value?.conversation);
    const next = all[at < 0 ? 0 : at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) go(next.state.id);
  }
}

/** Where each client's focus was before it went to the field that finds. */
const before = new WeakMap<Model, Element>();

function field(model: Model): HTMLInputElement | null {
  return model.space.element().querySelector<HTMLInputElement>(".sidebar [role=combobox]");
}

/** Leads to the field that finds; from there back. In the same turn where it can be: what is typed next must not go elsewhere. */
function find(model: Model): void {
  const { dialog, go } = model;
  const at = field(model);
  if (at && document.activeElement === at) return comeBack(model);
  const isOpen = dialog.value !== null;
  if (document.activeElement && !isOpen) before.set(model, document.activeElement);
  dialog.value = null;
  if (at && !at.checkVisibility()) go(null); // on a phone the chat lies over the list
  else if (at && !isOpen) return at.select();
  requestAnimationFrame(() => field(model)?.select());
}

function comeBack(model: Model): void {
  const back = before.get(model);
  if (back instanceof HTMLElement && back.isConnected && back !== document.body) back.focus();
  else (model.space.element().querySelector<HTMLElement>(".composer textarea") ?? field(model))?.focus();
}

/** The network is back, or somebody looks again: no need to wait. */
export function wakeUp(model: Model, isOnline: boolean): void {
  if (model.ready.value && (isOnline || model.theClient().state === "waiting")) model.theClient().connect();
}
