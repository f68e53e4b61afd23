/** What dialogs are made of: the dialog itself, what came of an action, a row that can be renamed and removed. */

import { useSignal } from "@preact/signals";
import { Problem } from "homing-client";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import { Back, Close, Pencil, Trash } from "./icons";
import { useModel } from "./model";

/** A modal dialog of the browser's own: it keeps the focus, gives it back, and closes with Escape. */
export function Modal({ title, children }: { title: string; children: ComponentChildren }) {
  const { back, backTo, dialog } = useModel();
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
        <header>
          {backTo.value && <button class="round" aria-label="Back" onClick={back}><Back /></button>}
          <h2>{title}</h2>
          <button class="round" aria-label="Close" onClick={close}><Close /></button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

/** A dialog's actions: what is under way, and what went wrong. */
export function useActions() {
  const busy = useSignal("");
  const problem = useSignal("");
  /** Does this under a name; false: it failed, and the dialog says why. */
  const act = async (name: string, work: () => Promise<unknown>): Promise<boolean> => {
    busy.value = name;
    problem.value = "";
    try {
      await work();
      return true;
    } catch (error) {
      problem.value = said(error);
      return false;
    } finally {
      if (busy.value === name) busy.value = "";
    }
  };
  return { act, busy, problem };
}

function said(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof Problem && error.code === 1013) return "That is not the present password.";
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return error instanceof Problem && error.code === 2003 ? `Too many tries. Please wait ${Math.ceil((error.retryAfterMs ?? 1000) / 1000)} seconds.` : sentence.replace(/[^.!?]$/, "$&.");
}

/** For `ref`: what appears by a key takes the focus, once. */
export function focusFirst(element: HTMLElement | null): void {
  element?.focus();
}

/** The button that began something has come back: so does the focus, as soon as it is there. */
export function focusAgain(within: { current: HTMLElement | null }, act: string): void {
  queueMicrotask(() => within.current?.querySelector<HTMLElement>(`[data-act="${act}"]`)?.focus());
}

export function Wrong({ text }: { text: string }) {
  return text ? <p class="wrong" role="alert">{text}</p> : null;
}

/** One line of text and a button, for a name. */
export function NameForm({ label, value, max, save, cancel }: { label: string; value: string; max: number; save: (name: string) => void; cancel: () => void }) {
  const name = useSignal(value);
  const field = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => field.current?.select(), []);
  const key = (event: KeyboardEvent): void => {
    if (event.key !== "Escape") return;
    event.preventDefault(); // leaves the field, not the dialog
    event.stopPropagation();
    cancel();
  };
  return (
    <form class="name-form" onKeyDown={key} onSubmit={(event) => { event.preventDefault(); if (name.value.trim()) save(name.value.trim()); }}>
      <input ref={field} aria-label={label} value={name.value} maxLength={max} required dir="auto" onInput={(event) => (name.value = event.currentTarget.value)} />
      <button class="primary" disabled={!name.value.trim()}>Save</button>
      <button type="button" class="plain" onClick={cancel}>Cancel</button>
    </form>
  );
}

interface EditRowProps {
  /** What is changed, for whoever cannot see where a button stands. */
  what: string;
  name: string;
  nameMax: number;
  rename: (name: string) => Promise<boolean>;
  remove?: () => Promise<boolean>;
  /** On the button that removes, and the question before it. */
  removeText: string;
  sure: string;
  children: ComponentChildren;
}

/** Something in a list that has a name and can be taken away. */
export function EditRow({ what, name, nameMax, rename, remove, removeText, sure, children }: EditRowProps) {
  const mode = useSignal<"" | "rename" | "remove">("");
  const row = useRef<HTMLLIElement>(null);
  const end = (): void => {
    const from = mode.value;
    mode.value = "";
    focusAgain(row, from);
  };
  if (mode.value === "rename") {
    return <li ref={row} class="edit-row"><NameForm label={`Name of ${what}`} value={name} max={nameMax} cancel={end} save={(to) => void rename(to).then((ok) => ok && end())} /></li>;
  }
  return (
    <li ref={row} class="edit-row">
      {children}
      {mode.value === "remove" ? (
        <span class="row-sure" role="group" aria-label={sure} onKeyDown={(event) => { if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); end(); } }}>
          <span class="quiet">{sure}</span>
          <button class="danger" ref={focusFirst} onClick={() => void remove!().then((ok) => ok || end())}>{removeText}</button>
          <button class="plain" onClick={end}>Keep</button>
        </span>
      ) : (
        <span class="row-acts">
          <button class="round" data-act="rename" aria-label={`Rename ${what}`} title="Rename" onClick={() => (mode.value = "rename")}><Pencil /></button>
          {remove && <button class="round" data-act="remove" aria-label={`${removeText} ${what}`} title={removeText} onClick={() => (mode.value = "remove")}><Trash /></button>}
        </span>
      )}
    </li>
  );
}
