/** The address book. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { EditRow, Modal, useActions, Wrong } from "./modal";
import { useModel } from "./model";
import { CONTACT_NAME_MAX } from "./person";
import { Picker } from "./picker";
import { Face, presenceText } from "./status";

export function Contacts() {
  const model = useModel();
  const { nameOf, people, show } = model;
  const { act, problem } = useActions();
  const query = useSignal("");
  useEffect(() => void act("load", () => people.load()), []);
  const users = [...people.contacts.value.keys()].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  const add = (user: string, name: string): void => {
    query.value = "";
    void act(user, () => people.addContact(user, name));
  };
  return (
    <Modal title="Contacts">
      <Picker autofocus label="Add a contact" placeholder="Add by name or @handle" query={query} without={users} chosen={(f) => add(f.key, f.title)}>
        <div class="dialog-body">
          <Wrong text={problem.value} />
          {users.length ? (
            <ul class="rows" aria-label="Contacts">
              {users.map((user) => {
                const name = nameOf(user);
                return (
                  <EditRow key={user} what={name} name={name} nameMax={CONTACT_NAME_MAX} rename={(to) => act(user, () => people.addContact(user, to))}
                    remove={() => act(user, () => people.removeContact(user))} removeText="Remove" sure="Remove this contact?">
                    <button class="row-main" onClick={() => show("person", user)}>
                      <Face id={user} title={name} size="small" />
                      <span class="found-text"><b dir="auto">{name}</b><span class="quiet">{presenceText(model, user)}</span></span>
                    </button>
                  </EditRow>
                );
              })}
            </ul>
          ) : <p class="quiet center">Nobody yet. Find somebody by handle, and keep them under a name of your own.</p>}
        </div>
      </Picker>
    </Modal>
  );
}
