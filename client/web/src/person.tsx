/** Somebody: who he says he is, whether he is here, and what can be done: write, keep as a contact, block. */

import { useSignal } from "@preact/signals";
import { ids } from "homing-client";
import { useEffect, useRef } from "preact/hooks";

import { Book, Forbid, Pencil, Speech, Trash } from "./icons";
import { focusAgain, focusFirst, Modal, NameForm, useActions, Wrong } from "./modal";
import { useModel } from "./model";
import { Face, presenceText } from "./status";

export const CONTACT_NAME_MAX = 64;

export function PersonDialog() {
  const model = useModel();
  const { blocksOf, dialog, go, nameOf, people, perform, session, subject } = model;
  const { act, busy, problem } = useActions();
  const mode = useSignal<"" | "name" | "block">("");
  const card = useRef<HTMLDivElement>(null);
  const user = subject.value;
  useEffect(() => void people.look(user).catch(() => undefined), [user]);
  const person = people.persons.value.get(user);
  const name = nameOf(user);
  const isContact = people.contacts.value.has(user);
  const isBlocked = blocksOf(ids.directId(session.value!.user, user)).mine;
  const status = presenceText(model, user);
  const end = (from: string): void => {
    mode.value = "";
    focusAgain(card, from);
  };
  const keep = (to: string): void => void act("name", () => people.addContact(user, to)).then((ok) => ok && end("name"));
  const drop = (): void => void act("drop", () => people.removeContact(user)).then(() => end("name"));
  const turn = (op: "block" | "unblock"): void => void act("block", () => perform({ op, id: ids.newId(), user })).then((ok) => ok && end("block"));
  return (
    <Modal title={name}>
      <div class="dialog-body" ref={card}>
        <div class="portrait">
          <Face id={user} title={name} />
          {person && person.name && person.name !== name && <b dir="auto">{person.name}</b>}
          {person && <span class="quiet" dir="auto">@{person.handle}</span>}
          {status && <span class="quiet">{status}</span>}
          {person?.about && <p class="about" dir="auto">{person.about}</p>}
        </div>
        <Wrong text={problem.value} />
        <div class="choices">
          <button class="choice" onClick={() => { dialog.value = null; go(user); }}><Speech /><span>Write a message</span></button>
          {mode.value === "name" ? <NameForm label={`What you call ${name}`} value={people.contacts.value.get(user) || name} max={CONTACT_NAME_MAX} save={keep} cancel={() => end("name")} />
            : <button class="choice" data-act="name" onClick={() => (mode.value = "name")}>{isContact ? <><Pencil /><span>Rename contact</span></> : <><Book /><span>Add to contacts</span></>}</button>}
          {isContact && mode.value !== "name" && <button class="choice" disabled={busy.value === "drop"} onClick={drop}><Trash /><span>Remove from contacts</span></button>}
          {mode.value === "block" ? (
            <div class="sure" role="group" aria-label={`Block ${name}?`}>
              <p>Neither of you can write to the other until you unblock. It stays visible in the chat, for both of you.</p>
              <button class="danger" ref={focusFirst} disabled={busy.value === "block"} onClick={() => turn("block")}>Block</button> <button class="plain" onClick={() => end("block")}>Cancel</button>
            </div>
          ) : (
            <button class="choice danger-choice" data-act="block" disabled={busy.value === "block"} onClick={() => (isBlocked ? turn("unblock") : (mode.value = "block"))}><Forbid /><span>{isBlocked ? "Unblock" : "Block …"}</span></button>
          )}
        </div>
      </div>
    </Modal>
  );
}
