/** What opens over the page: find, a new group, a group's members, the menu. */

import { useSignal } from "@preact/signals";
import { ids, Problem, type Contact, type Person } from "homing-client";
import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import { Close } from "./icons";
import { useModel } from "./model";
import { Avatar } from "./text";
import { setTheme, theme, type Theme } from "./theme";

export function Dialogs() {
  switch (useModel().dialog.value) {
    case "find": return <Find />;
    case "group": return <NewGroup />;
    case "members": return <Members />;
    case "menu": return <MenuDialog />;
    default: return null;
  }
}

/** A modal dialog of the browser's own: it keeps the focus, gives it back, and closes with Escape. */
function Modal({ title, children }: { title: string; children: ComponentChildren }) {
  const { dialog } = useModel();
  const box = useRef<HTMLDialogElement>(null);
  const isOver = useRef(false);
  // In the same turn: what is typed right after the key that opened it must not go elsewhere.
  useLayoutEffect(() => {
    const element = box.current!;
    element.showModal();
    return () => {
      isOver.current = true;
      element.close();
    };
  }, []);
  // The browser tells of the end later, when another dialog may be open.
  const close = (): void => {
    if (!isOver.current) dialog.value = null;
  };
  return (
    <dialog ref={box} class="dialog" aria-label={title} onClose={close} onClick={(event) => event.target === box.current && close()}>
      <div class="dialog-card">
        <header><h2>{title}</h2><button class="round" aria-label="Close" onClick={close}><Close /></button></header>
        {children}
      </div>
    </dialog>
  );
}

interface Found {
  key: string;
  id: string;
  avatar: string;
  title: string;
  under: string;
}
const HANDLE = /^@?([\p{L}\p{N}._-]{3,32})$/u;
const LOOK_MS = 250;

function useSearch(query: string): { person: Person | null; contacts: Contact[]; problem: string; isLooking: boolean } {
  const { accounts } = useModel();
  const person = useSignal<Person | null>(null);
  const contacts = useSignal<Contact[]>([]);
  const problem = useSignal("");
  const isLooking = useSignal(false);
  useEffect(() => void accounts.contacts().then((list) => (contacts.value = list), () => undefined), []);
  useEffect(() => {
    person.value = null;
    problem.value = "";
    const handle = HANDLE.exec(query.trim())?.[1];
    isLooking.value = !!handle;
    if (!handle) return undefined;
    let isOver = false;
    const timer = setTimeout(() => {
      accounts.find(handle).then(
        (found) => { if (!isOver) person.value = found; },
        (error: unknown) => { if (!isOver) problem.value = error instanceof Problem ? error.message : String(error); },
      ).finally(() => { if (!isOver) isLooking.value = false; });
    }, LOOK_MS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [query]);
  return { person: person.value, contacts: contacts.value, problem: problem.value, isLooking: isLooking.value };
}

/** A field with a list below it: arrows choose, Enter takes. */
function Picker({ label, placeholder, groups, query, chosen, without = [], under }: {
  label: string; placeholder: string; groups: boolean; query: { value: string }; chosen: (found: Found) => void; without?: Found[]; under?: ComponentChildren;
}) {
  const { items, nameOf, session, space, theClient } = useModel();
  const list = space.idOf("found");
  const at = useSignal(0);
  const { person, contacts, problem, isLooking } = useSearch(query.value);
  const me = session.value!.user;
  const words = query.value.trim().toLowerCase().replace(/^@/, "");
  const found: Found[] = [];
  const add = (f: Found): void => { if (![...without, ...found].some((other) => other.key === f.key)) found.push(f); };
  if (person && person.user !== me) add({ key: person.user, id: person.user, avatar: person.user, title: person.name || person.handle, under: `@${person.handle}` });
  for (const { state, title } of items.value) {
    if (words && !title.toLowerCase().includes(words)) continue;
    if (state.peer) add({ key: state.peer, id: groups ? state.id : state.peer, avatar: state.peer, title, under: "" });
    else if (groups) add({ key: state.id, id: state.id, avatar: state.id, title, under: "Group" });
  }
  for (const c of contacts) if (!words || c.name.toLowerCase().includes(words)) add({ key: c.user, id: c.user, avatar: c.user, title: c.name || nameOf(c.user), under: "Contact" });
  const shown = found.slice(0, 20);
  const current = Math.min(at.value, shown.length - 1);
  const take = (f: Found | undefined): void => {
    if (!f) return;
    if (f.key === person?.user) theClient().learnName(person.user, person.name || person.handle);
    chosen(f);
  };
  const key = (event: TargetedKeyboardEvent<HTMLInputElement>): void => {
    if (event.key === "ArrowDown") at.value = Math.min(shown.length - 1, current + 1);
    else if (event.key === "ArrowUp") at.value = Math.max(0, current - 1);
    else if (event.key === "Enter") take(shown[current]);
    else return;
    event.preventDefault();
  };
  return (
    <>
      <input class="picker" autofocus role="combobox" aria-expanded="true" aria-controls={list} aria-autocomplete="list" aria-label={label} placeholder={placeholder}
        aria-activedescendant={shown[current] ? `${list}-${current}` : undefined} value={query.value} dir="auto" autocapitalize="none" spellcheck={false}
        onInput={(event) => { query.value = event.currentTarget.value; at.value = 0; }} onKeyDown={key} />
      {under}
      <ul class="found" id={list} role="listbox" aria-label="Found">
        {shown.map((f, i) => (
          <li key={f.key} id={`${list}-${i}`} role="option" aria-selected={i === current} onMouseMove={() => (at.value = i)} onClick={() => take(f)}>
            <Avatar id={f.avatar} title={f.title} size="small" /><span class="found-text"><b dir="auto">{f.title}</b>{f.under && <span class="quiet" dir="auto">{f.under}</span>}</span>
          </li>
        ))}
      </ul>
      <p class="quiet center" role="status">
        {problem || (shown.length ? "" : isLooking ? "Looking …" : words ? (HANDLE.test(words) ? `Nobody is called @${words}.` : "Nothing found.") : "Type a handle to find somebody.")}
      </p>
    </>
  );
}

function Find() {
  const { dialog, go } = useModel();
  const query = useSignal("");
  return (
    <Modal title="Find people and chats">
      <Picker label="Name or handle" placeholder="Name or @handle" groups query={query} chosen={(f) => { dialog.value = null; go(f.id); }} />
    </Modal>
  );
}

function NewGroup() {
  const { dialog, go, theClient } = useModel();
  const query = useSignal("");
  const title = useSignal("");
  const members = useSignal<Found[]>([]);
  const problem = useSignal("");
  const create = async (event: Event): Promise<void> => {
    event.preventDefault();
    try {
      const conversation = await theClient().createGroup(title.value.trim(), members.value.map((m) => m.key));
      dialog.value = null;
      go(conversation);
    } catch (error) {
      problem.value = error instanceof Error ? error.message : String(error);
    }
  };
  const add = (f: Found): void => {
    if (!members.value.some((m) => m.key === f.key)) members.value = [...members.value, f];
    query.value = "";
  };
  return (
    <Modal title="New group">
      <form class="group-form" onSubmit={(event) => void create(event)}>
        <label><span>Name of the group</span><input value={title.value} maxLength={128} required dir="auto" onInput={(event) => (title.value = event.currentTarget.value)} /></label>
        <Picker label="Add people" placeholder="Add people by name or @handle" groups={false} query={query} chosen={add} without={members.value} under={members.value.length > 0 && (
          <ul class="chips" aria-label="Members">
            {members.value.map((m) => <li key={m.key}><span dir="auto">{m.title}</span><button type="button" aria-label={`Remove ${m.title}`} onClick={() => (members.value = members.value.filter((o) => o !== m))}><Close /></button></li>)}
          </ul>
        )} />
        {problem.value && <p class="wrong" role="alert">{problem.value}</p>}
        <button class="primary" disabled={!title.value.trim() || !members.value.length}>Create group</button>
      </form>
    </Modal>
  );
}

function Members() {
  const { dialog, membersOf, nameOf, place, theClient } = useModel();
  const at = place.value;
  if (!at) return null;
  const leave = (): void => {
    void theClient().request({ op: "group_leave", id: ids.newId(), conversation: at.conversation });
    dialog.value = null;
  };
  return (
    <Modal title="Members">
      <ul class="found">
        {membersOf(at.conversation).map((user) => <li key={user} class="still"><Avatar id={user} title={nameOf(user)} size="small" /><span class="found-text"><b dir="auto">{nameOf(user)}</b></span></li>)}
      </ul>
      <button class="danger" onClick={leave}>Leave the group</button>
    </Modal>
  );
}

const THEMES: [Theme, string][] = [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]];

function MenuDialog() {
  const { session, signOut, theClient } = useModel();
  const me = session.value!;
  const sure = useSignal(false);
  const waiting = theClient().core.outbox.size;
  return (
    <Modal title="You">
      <div class="me"><Avatar id={me.user} title={me.name || me.handle} /><div><b dir="auto">{me.name || me.handle}</b><br /><span class="quiet">@{me.handle}</span></div></div>
      <fieldset class="themes"><legend>Colours</legend>
        {THEMES.map(([value, text]) => <label key={value}><input type="radio" name="theme" checked={theme.value === value} onChange={() => setTheme(value)} /><span>{text}</span></label>)}
      </fieldset>
      {sure.value ? (
        <div class="sure" role="group" aria-label="Sign out?">
          <p>{waiting ? `${waiting} messages are not sent yet and would be lost. ` : ""}This browser forgets your chats; the cluster keeps them.</p>
          <button class="danger" onClick={() => void signOut()}>Sign out</button> <button class="plain" onClick={() => (sure.value = false)}>Stay</button>
        </div>
      ) : <button class="plain" onClick={() => (sure.value = true)}>Sign out …</button>}
    </Modal>
  );
}
