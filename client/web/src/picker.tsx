/** A field that finds people by handle, and chats and contacts by name, with what it found below: arrows choose, Enter takes. */

import { useSignal } from "@preact/signals";
import { Problem, type Person } from "homing-client";
import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useEffect } from "preact/hooks";

import { useModel, type Model } from "./model";
import { Face } from "./status";

export interface Found {
  /** A user, or a group. */
  key: string;
  /** Where it leads. */
  id: string;
  title: string;
  under: string;
  section: "Chats" | "Contacts" | "People";
}
const HANDLE = /^@?([\p{L}\p{N}._-]{3,32})$/u;
const LOOK_MS = 250;
const SECTION_MAX = 20;

function usePerson(query: string): { person: Person | null; problem: string; isLooking: boolean } {
  const { accounts } = useModel();
  const person = useSignal<Person | null>(null);
  const problem = useSignal("");
  const isLooking = useSignal(false);
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
  return { person: person.value, problem: problem.value, isLooking: isLooking.value };
}

/** What fits the query, each once. A person who was found by his handle goes first: that is what was asked for. */
function findAll(model: Model, query: string, person: Person | null, groups: boolean, without: readonly string[]): Found[] {
  const me = model.session.value!.user;
  const words = query.trim().toLowerCase().replace(/^@/, "");
  const found: Found[] = [];
  const seen = new Set([...without, me]);
  const counts = new Map<string, number>();
  const add = (f: Found): void => {
    const count = counts.get(f.section) ?? 0;
    if (seen.has(f.key) || count >= SECTION_MAX) return;
    seen.add(f.key);
    counts.set(f.section, count + 1);
    found.push(f);
  };
  const fits = (title: string): boolean => !words || title.toLowerCase().includes(words);
  if (person) add({ key: person.user, id: person.user, title: model.people.contacts.value.get(person.user) || person.name || person.handle, under: `@${person.handle}`, section: "People" });
  for (const { state, title } of model.items.value) {
    if (!fits(title)) continue;
    if (state.peer) add({ key: state.peer, id: groups ? state.id : state.peer, title, under: "", section: "Chats" });
    else if (groups) add({ key: state.id, id: state.id, title, under: "Group", section: "Chats" });
  }
  for (const user of model.people.contacts.value.keys()) if (fits(model.nameOf(user))) add({ key: user, id: user, title: model.nameOf(user), under: "", section: "Contacts" });
  return found;
}

interface PickerProps {
  label: string;
  placeholder: string;
  query: { value: string };
  chosen: (found: Found) => void;
  /** Whether groups are found too. */
  groups?: boolean;
  without?: readonly string[];
  /** Stands in the field, before the text. */
  icon?: ComponentChildren;
  /** Stands between the field and what was found. */
  under?: ComponentChildren;
  /** Shown instead of what was found while nothing is looked for. */
  children?: ComponentChildren;
  /** A key that the field does not take itself. */
  onKey?: (event: TargetedKeyboardEvent<HTMLInputElement>) => void;
  autofocus?: boolean;
}

export function Picker({ label, placeholder, query, chosen, groups = false, without = [], icon, under, children, onKey, autofocus = false }: PickerProps) {
  const model = useModel();
  const list = model.space.idOf(`found-${label.replace(/\W/g, "")}`);
  const at = useSignal(0);
  const { person, problem, isLooking } = usePerson(query.value);
  const isClosed = children !== undefined && !query.value.trim();
  const shown = isClosed ? [] : findAll(model, query.value, person, groups, without);
  const current = Math.min(at.value, shown.length - 1);
  const take = (f: Found | undefined): void => {
    if (!f) return;
    if (f.key === person?.user) {
      model.theClient().learnName(person.user, person.name || person.handle);
      model.people.learn(person);
    }
    chosen(f);
  };
  const key = (event: TargetedKeyboardEvent<HTMLInputElement>): void => {
    if (isClosed || !["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) return onKey?.(event);
    if (event.key === "ArrowDown") at.value = Math.min(shown.length - 1, current + 1);
    else if (event.key === "ArrowUp") at.value = Math.max(0, current - 1);
    else take(shown[current]);
    event.preventDefault();
  };
  const words = query.value.trim().replace(/^@/, "");
  const status = problem || (isClosed || shown.length ? "" : isLooking ? "Looking …" : words ? (HANDLE.test(words) ? `Nobody is called @${words}.` : "Nothing found.") : "Type a handle to find somebody.");
  const open = isClosed ? { "aria-expanded": false } : { "aria-expanded": true, "aria-controls": list, "aria-activedescendant": shown[current] ? `${list}-${current}` : undefined };
  return (
    <>
      <label class="picker">
        {icon}
        <input autofocus={autofocus} role="combobox" {...open} aria-autocomplete="list" aria-label={label} placeholder={placeholder} value={query.value}
          dir="auto" autocapitalize="none" autocomplete="off" spellcheck={false} enterkeyhint="go"
          onInput={(event) => { query.value = event.currentTarget.value; at.value = 0; }} onKeyDown={key} />
      </label>
      {under}
      {isClosed ? children : (
        <div class="found-frame">
          <ul class="found" id={list} role="listbox" aria-label="Found">
            {shown.flatMap((f, i) => [
              shown[i - 1]?.section !== f.section && <li class="section" role="presentation" aria-hidden="true" key={f.section}>{f.section}</li>,
              <li key={f.key} id={`${list}-${i}`} role="option" aria-selected={i === current} onMouseMove={() => (at.value = i)} onClick={() => take(f)} ref={i === current ? intoView : undefined}>
                <Face id={f.key} title={f.title} size="small" /><span class="found-text"><b dir="auto">{f.title}</b>{f.under && <span class="quiet" dir="auto">{f.under}</span>}</span>
              </li>,
            ])}
          </ul>
          <p class="quiet center" role="status">{status}</p>
        </div>
      )}
    </>
  );
}

function intoView(element: HTMLElement | null): void {
  element?.scrollIntoView({ block: "nearest" });
}
