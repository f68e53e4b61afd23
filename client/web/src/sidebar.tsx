/** The conversation list, and what belongs to the own account. */

import { useSignal } from "@preact/signals";
import type { TargetedKeyboardEvent } from "preact";
import { useRef } from "preact/hooks";

import { Banner } from "./banner";
import { Alert, Group, Menu, Search, Tick } from "./icons";
import { useModel, type Item } from "./model";
import { Picker } from "./picker";
import { Activity, activityText, Face } from "./status";
import { Avatar, eventText, shortTime } from "./text";
import { ids } from "homing-client";

const SHOWN_STEP = 100;

export function Sidebar() {
  const { go, items, label, query, session, show, theClient } = useModel();
  const box = useRef<HTMLDivElement>(null);
  const shown = useSignal(SHOWN_STEP);
  const all = items.value;
  const me = session.value!;
  const more = async (): Promise<void> => {
    if (shown.value >= all.length) await theClient().moreConversations().catch(() => false);
    shown.value += SHOWN_STEP;
  };
  return (
    <div class="sidebar" ref={box}>
      <header class="sidebar-head">
        <h1>Chats</h1>
        <button class="round" aria-label="New group" title="New group" onClick={() => show("group")}><Group /></button>
        <button class="round" aria-label="Menu" title="Menu" aria-haspopup="dialog" onClick={() => show("menu")}><Menu /></button>
      </header>
      <Picker label="Find people and chats" placeholder="Name or @handle" groups query={query} icon={<><Search /><kbd aria-hidden="true">Ctrl K</kbd></>} under={<Banner />}
        chosen={(f) => { query.value = ""; go(f.id); }} onKey={intoList}>
      <nav class="list" aria-label={label("Chats")} onKeyDown={walk}>
        {all.length ? (
          <ul>
            {all.slice(0, shown.value).map((item) => <li key={item.state.id}><ListItem item={item} me={me.user} /></li>)}
          </ul>
        ) : (
          <div class="empty">
            <p><strong>No chats yet</strong></p>
            <p>Find somebody by handle and say hello. Yours is <b dir="auto">@{me.handle}</b>.</p>
            <button class="primary" onClick={() => box.current?.querySelector("input")?.focus()}>Find people</button>
          </div>
        )}
        {(all.length > shown.value || theClient().core.more !== null) && <button class="more" onClick={() => void more()}>Older chats</button>}
      </nav>
      </Picker>
      <footer class="sidebar-foot">
        <Avatar id={me.user} title={me.name || me.handle} size="small" />
        <span class="who"><b dir="auto">{me.name || me.handle}</b><span class="quiet" dir="auto">@{me.handle}</span></span>
      </footer>
    </div>
  );
}

/** Down leads from the field into the list. */
function intoList(event: TargetedKeyboardEvent<HTMLInputElement>): void {
  if (event.key !== "ArrowDown") return;
  event.preventDefault();
  event.currentTarget.closest(".sidebar")?.querySelector<HTMLElement>(".list a")?.focus();
}

/** Up and down walk through the list. */
function walk(event: TargetedKeyboardEvent<HTMLElement>): void {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const links = [...event.currentTarget.querySelectorAll<HTMLElement>("a")];
  const at = links.indexOf(document.activeElement as HTMLElement);
  const next = links[at + (event.key === "ArrowDown" ? 1 : -1)];
  if (at < 0 || !next) return;
  event.preventDefault();
  next.focus();
}

function ListItem({ item, me }: { item: Item; me: string }) {
  const model = useModel();
  const { go, people, place } = model;
  const { state, title, unread, at } = item;
  const activity = activityText(model, state.id);
  const isOnline = state.peer !== "" && people.presenceOf(state.peer).state === "online";
  const isHere = place.value?.conversation === state.id;
  const label = unread ? `, ${unread} unread` : "";
  return (
    <a href={`#/c/${state.id}`} class={`item ${unread ? "is-unread" : ""}`} aria-current={isHere ? "page" : undefined} onClick={(event) => {
      event.preventDefault();
      go(state.id);
    }}>
      <Face id={state.peer || state.id} title={title} />
      <span class="item-text">
        <span class="item-top"><span class="item-title" dir="auto">{title}</span>{isOnline && <span class="hidden">online</span>}<time class="item-time">{shortTime(at)}</time></span>
        <span class="item-bottom">{activity ? <span class="preview"><Activity text={activity} /></span> : <Preview item={item} me={me} />}{unread > 0 && <span class="badge" aria-label={label}>{unread > 999 ? "999+" : unread}</span>}</span>
      </span>
    </a>
  );
}

function Preview({ item: { state, draft, waiting }, me }: { item: Item; me: string }) {
  const { nameOf, place, progress } = useModel();
  const isHere = place.value?.conversation === state.id;
  if (draft && !isHere) return <span class="preview" dir="auto"><em class="draft">Draft:</em> {draft}</span>;
  if (waiting) return <span class="preview" dir="auto">{waiting.failed ? <span class="failed-mark"><Alert /><span class="hidden">Not sent: </span></span> : <Tick state="queued" />} {waiting.body}</span>;
  const last = state.last;
  if (!last) return <span class="preview" />;
  if ((last.type ?? "text") !== "text") return <span class="preview" dir="auto">{eventText(last.sender, last.type ?? "", last.body ?? "", me, nameOf)}</span>;
  const isGroup = ids.kindOf(state.id) === ids.GROUP;
  return (
    <span class="preview" dir="auto">
      {last.sender === me ? <><Tick state={progress(state.id, last.seq)} /> </> : isGroup ? `${nameOf(last.sender)}: ` : ""}
      {(last.body ?? "").slice(0, 160)}
    </span>
  );
}
