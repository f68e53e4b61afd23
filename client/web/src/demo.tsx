/**
 * `/demo`: two people side by side, each a whole client with an account, a store and a connection of its own. Both speak to the node that
 * the page came from: its policy allows no other.
 *
 * Laws:
 *   - A link's code is taken out of the address at once, and shown only when the sessions that this browser has do not do.
 *   - A key belongs to the person in whose part the focus is, or was last.
 */

import { effect, signal } from "@preact/signals";
import { Problem } from "homing-client";
import { render } from "preact";

import { App, onKey } from "./app";
import { codeOf, demoSpace, exchange, paneId, PEOPLE } from "./demo_space";
import { Logo } from "./icons";
import { Model } from "./model";

const models = Array.from({ length: PEOPLE }, (_, n) => new Model(demoSpace(n)));
/** Whose part a narrow page shows. */
const shown = signal(0);
const state = signal<"open" | "opening" | "none" | "used" | "busy" | "away">("opening");
let code = "";
let lastFocused = 0;

export function startDemo(root: HTMLElement): Model[] {
  document.title = "Homing: two people side by side";
  takeCode();
  addEventListener("hashchange", () => {
    takeCode();
    if (state.value !== "open") void open();
  });
  addEventListener("keydown", (event) => onKey(models[focused()]!, event));
  addEventListener("focusin", () => (lastFocused = focused()));
  render(<Demo />, root);
  if (models.every((model) => model.session.value)) {
    state.value = "open";
    for (const model of models) void model.start();
  } else void open();
  // A session may be of a cluster that is no more: then the link that the page was opened with counts.
  effect(() => {
    if (state.value === "open" && code && models.some((model) => !model.session.value)) queueMicrotask(() => void open());
  });
  return models;
}

function takeCode(): void {
  const found = codeOf(location.hash);
  if (found) code = found;
  if (location.hash) history.replaceState(null, "", location.pathname);
}

async function open(): Promise<void> {
  const shownCode = code;
  if (!shownCode) {
    state.value = "none";
    return;
  }
  state.value = "opening";
  try {
    const answers = await exchange(shownCode);
    code = "";
    await Promise.all(models.map(async (model, n) => {
      const other = answers[1 - n]!;
      model.space.address.set(`#/u/${other.user}`, true);
      await model.adopt(answers[n]!);
      if (model.ready.value) model.theClient().learnName(other.user, other.name);
    }));
    state.value = "open";
  } catch (error) {
    const status = error instanceof Problem ? error.status : 0;
    state.value = status === 429 ? "busy" : status > 0 && status < 500 ? "used" : "away";
    if (state.value === "used") code = "";
  }
}

function focused(): number {
  const found = models.findIndex((model) => model.space.element().contains(document.activeElement) && document.activeElement !== document.body);
  return found < 0 ? lastFocused : found;
}

function Demo() {
  if (state.value === "opening") return <main class="door" aria-busy="true"><Logo size={56} /><h1 class="hidden">Homing</h1></main>;
  if (state.value !== "open") return <Closed />;
  return (
    <main class="demo">
      <header class="demo-head">
        <Logo size={30} />
        <div><h1>Two people, one chat</h1> <span class="demo-more">Write on one side, and look at the other. Each is a whole client with an account, a store and a connection of its own, both to this node.</span></div>
        <div class="demo-tabs" role="group" aria-label="Whose side">
          {models.map((model, n) => {
            const name = nameOf(model).split(" ")[0], hasNews = model.unreadTotal.value > 0 && shown.value !== n;
            return <button key={n} aria-pressed={shown.value === n} aria-label={hasNews ? `${name}, unread` : undefined} onClick={() => (shown.value = n)}>{name}{hasNews && <span class="dot" />}</button>;
          })}
        </div>
      </header>
      <div class="panes">
        {models.map((model, n) => (
          <div key={n} id={paneId(n)} class={`pane ${shown.value === n ? "is-shown" : ""}`}>
            <h2 class="pane-head" dir="auto">{nameOf(model)}</h2>
            <App model={model} />
          </div>
        ))}
      </div>
    </main>
  );
}

function nameOf(model: Model): string {
  const who = model.session.value;
  return who ? who.name || who.handle : model.space.label;
}

function Closed() {
  const text = {
    none: ["A link opens the demo", "This browser has no demo open."],
    used: ["This link does not open any more", "A link opens once, within half an hour."],
    busy: ["The demo was opened too often", "The link is still good: try again in ten seconds."],
    away: ["The node does not answer", "The link is still good: try again in a moment."],
  }[state.value as "none" | "used" | "busy" | "away"];
  return (
    <main class="door"><div class="door-card">
      <Logo size={56} /><h1>{text[0]}</h1>
      <p class="quiet" role="status">{text[1]}</p>
      {state.value === "away" || state.value === "busy" ? <button class="primary" onClick={() => void open()}>Try again</button> : <p>Another one, in the folder of <kbd>./run</kbd>:<br /><code class="command">.venv/bin/homing demo</code></p>}
      <p class="quiet">Or <a class="link" href="/#/register">make an account of your own</a>.</p>
    </div></main>
  );
}
