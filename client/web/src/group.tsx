/** A new group, and what can be done with one: who is in it and with which role, add, remove, rename, make admin, leave. */

import { useSignal } from "@preact/signals";
import { ids, type MemberInfo } from "homing-client";
import { useRef } from "preact/hooks";

import { Close, Door, More, Pencil, Plus } from "./icons";
import { focusAgain, focusFirst, Modal, NameForm, useActions, Wrong } from "./modal";
import { useModel } from "./model";
import { Picker, type Found } from "./picker";
import { Face, presenceText } from "./status";
import { Avatar } from "./text";

const TITLE_MAX = 128;
const ROLES: Record<string, string> = { owner: "Owner", admin: "Admin" };

export function NewGroup() {
  const { dialog, go, theClient } = useModel();
  const query = useSignal("");
  const title = useSignal("");
  const members = useSignal<Found[]>([]);
  const { act, problem } = useActions();
  const create = async (): Promise<void> => {
    const conversation = await theClient().createGroup(title.value.trim(), members.value.map((m) => m.key));
    dialog.value = null;
    go(conversation);
  };
  const add = (f: Found): void => {
    members.value = [...members.value, f];
    query.value = "";
  };
  return (
    <Modal title="New group">
      <form class="group-form" onSubmit={(event) => { event.preventDefault(); void act("create", create); }}>
        <label><span>Name of the group</span><input value={title.value} maxLength={TITLE_MAX} required dir="auto" onInput={(event) => (title.value = event.currentTarget.value)} /></label>
        <Picker label="Add people" placeholder="Add people by name or @handle" query={query} chosen={add} without={members.value.map((m) => m.key)} under={<Chips found={members} />} />
        <Wrong text={problem.value} />
        <button class="primary" disabled={!title.value.trim() || !members.value.length}>Create group</button>
      </form>
    </Modal>
  );
}

function Chips({ found }: { found: { value: Found[] } }) {
  if (!found.value.length) return null;
  return (
    <ul class="chips" aria-label="Chosen">
      {found.value.map((m) => <li key={m.key}><span dir="auto">{m.title}</span><button type="button" aria-label={`Remove ${m.title}`} onClick={() => (found.value = found.value.filter((o) => o !== m))}><Close /></button></li>)}
    </ul>
  );
}

export function GroupDialog() {
  const { dialog, nameOf, perform, place, rolesOf, session, theClient, titleOf } = useModel();
  const { act, busy, problem } = useActions();
  const mode = useSignal<"" | "rename" | "add" | "leave">("");
  const card = useRef<HTMLDivElement>(null);
  const at = place.value;
  if (!at) return null;
  const { conversation } = at;
  const me = session.value!.user;
  const title = titleOf(conversation, "");
  const members = [...rolesOf(conversation)].sort((a, b) => rank(a) - rank(b) || nameOf(a.user).localeCompare(nameOf(b.user)));
  const role = members.find((m) => m.user === me)?.role ?? theClient().core.conversations.get(conversation)?.role ?? "member";
  const mayRun = role === "owner" || role === "admin";
  const id = (): string => ids.newId();
  const end = (from: string): void => {
    mode.value = "";
    focusAgain(card, from);
  };
  const rename = (to: string): void => void act("rename", () => perform({ op: "group_rename", id: id(), conversation, title: to })).then((ok) => ok && end("rename"));
  const leave = (): void => void act("leave", () => perform({ op: "group_leave", id: id(), conversation })).then((ok) => ok && (dialog.value = null));
  return (
    <Modal title="Group">
      <div class="dialog-body" ref={card}>
        <div class="me">
          <Avatar id={conversation} title={title} />
          {mode.value === "rename" ? <NameForm label="Name of the group" value={title} max={TITLE_MAX} save={rename} cancel={() => end("rename")} /> : (
            <>
              <div class="me-text"><b dir="auto">{title}</b><span class="quiet">{members.length === 1 ? "1 member" : `${members.length} members`}</span></div>
              {mayRun && <button class="round" data-act="rename" aria-label="Rename the group" title="Rename" onClick={() => (mode.value = "rename")}><Pencil /></button>}
            </>
          )}
        </div>
        {mayRun && mode.value !== "add" && <button class="choice" data-act="add" onClick={() => (mode.value = "add")}><Plus /><span>Add people</span></button>}
        {mode.value === "add" && <AddPeople conversation={conversation} without={members.map((m) => m.user)} end={() => end("add")} />}
        <Wrong text={problem.value} />
        <ul class="rows" aria-label="Members">
          {members.map((m) => <Member key={m.user} member={m} own={role} isMe={m.user === me} busy={busy.value} act={act} conversation={conversation} />)}
        </ul>
        {mode.value === "leave" ? (
          <div class="sure" role="group" aria-label="Leave the group?">
            <p>You get no more messages of this group. What was said until now stays here.</p>
            <button class="danger" ref={focusFirst} disabled={busy.value === "leave"} onClick={leave}>Leave</button> <button class="plain" onClick={() => end("leave")}>Stay</button>
          </div>
        ) : <button class="choice danger-choice" data-act="leave" onClick={() => (mode.value = "leave")}><Door /><span>Leave the group …</span></button>}
      </div>
    </Modal>
  );
}

function rank(member: MemberInfo): number {
  return ["owner", "admin"].indexOf(member.role ?? "member") >>> 0; // -1, a plain member, is the largest
}

function AddPeople({ conversation, without, end }: { conversation: string; without: string[]; end: () => void }) {
  const { perform } = useModel();
  const { act, busy, problem } = useActions();
  const query = useSignal("");
  const chosen = useSignal<Found[]>([]);
  const add = async (): Promise<void> => {
    const ok = await act("add", () => perform({ op: "group_add", id: ids.newId(), conversation, members: chosen.value.map((m) => m.key) }));
    if (ok) end();
  };
  const take = (f: Found): void => {
    chosen.value = [...chosen.value, f];
    query.value = "";
  };
  return (
    <div class="panel" role="group" aria-label="Add people">
      <Picker autofocus label="People to add" placeholder="Name or @handle" query={query} chosen={take} without={[...without, ...chosen.value.map((m) => m.key)]} under={<Chips found={chosen} />} />
      <Wrong text={problem.value} />
      <div class="buttons"><button class="primary" disabled={!chosen.value.length || busy.value === "add"} onClick={() => void add()}>Add</button> <button class="plain" onClick={end}>Cancel</button></div>
    </div>
  );
}

interface MemberProps {
  member: MemberInfo;
  own: string;
  isMe: boolean;
  busy: string;
  act: (name: string, work: () => Promise<unknown>) => Promise<boolean>;
  conversation: string;
}

function Member({ member, own, isMe, busy, act, conversation }: MemberProps) {
  const model = useModel();
  const { nameOf, perform, show } = model;
  const isOpen = useSignal(false);
  const { user, role = "member" } = member;
  const name = nameOf(user);
  const mayRemove = !isMe && (own === "owner" || (own === "admin" && role === "member"));
  const mayPromote = !isMe && own === "owner";
  const status = presenceText(model, user);
  const text = <><Face id={user} title={name} size="small" /><span class="found-text"><b dir="auto">{isMe ? `${name} (you)` : name}</b>{status && <span class="quiet">{status}</span>}</span></>;
  const promote = (to: "admin" | "member"): void => void act(user, () => perform({ op: "group_role", id: ids.newId(), conversation, user, role: to }));
  return (
    <li class="edit-row">
      {isMe ? <span class="row-main">{text}</span> : <button class="row-main" onClick={() => show("person", user)}>{text}</button>}
      {ROLES[role] && <span class="tag">{ROLES[role]}</span>}
      {(mayRemove || mayPromote) && <button class="round" aria-label={`What to do with ${name}`} aria-expanded={isOpen.value} onClick={() => (isOpen.value = !isOpen.value)}><More /></button>}
      {isOpen.value && (
        <span class="row-sure" role="group" aria-label={`What to do with ${name}`}>
          {mayPromote && <button class="plain" disabled={busy === user} onClick={() => promote(role === "admin" ? "member" : "admin")}>{role === "admin" ? "Take admin role" : "Make admin"}</button>}
          {mayRemove && <button class="danger" disabled={busy === user} onClick={() => void act(user, () => perform({ op: "group_remove", id: ids.newId(), conversation, members: [user] }))}>Remove from group</button>}
        </span>
      )}
    </li>
  );
}
