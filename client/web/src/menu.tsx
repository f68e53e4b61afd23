/** The own account: what leads to contacts, devices and settings; profile; privacy; colours; signing out. */

import { useSignal } from "@preact/signals";
import { ids, type Audience, type Privacy } from "homing-client";
import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { Book, Door, Key, Laptop, Next, PersonIcon, Shield } from "./icons";
import { focusAgain, focusFirst, Modal, useActions, Wrong } from "./modal";
import { useModel, type Dialog } from "./model";
import { Avatar } from "./text";
import { setTheme, theme, type Theme } from "./theme";

const THEMES: [Theme, string][] = [["auto", "As the system"], ["light", "Light"], ["dark", "Dark"]];
const PAGES: [Dialog, string, () => ComponentChildren][] = [
  ["profile", "Profile", PersonIcon], ["contacts", "Contacts", Book], ["privacy", "Privacy", Shield], ["devices", "Devices", Laptop], ["password", "Password", Key],
];

export function MenuDialog() {
  const { session, show, signOut, space, theClient } = useModel();
  const me = session.value!;
  const sure = useSignal(false);
  const card = useRef<HTMLDivElement>(null);
  const waiting = theClient().core.outbox.size;
  return (
    <Modal title="You">
      <div class="dialog-body" ref={card}>
        <div class="me"><Avatar id={me.user} title={me.name || me.handle} /><div class="me-text"><b dir="auto">{me.name || me.handle}</b><span class="quiet" dir="auto">@{me.handle}</span></div></div>
        <div class="choices">
          {PAGES.map(([page, text, Icon]) => <button key={page} class="choice" onClick={() => show(page)}><Icon /><span>{text}</span><Next /></button>)}
        </div>
        <Choice legend="Colours" name={space.idOf("theme")} options={THEMES} value={theme.value} choose={setTheme} />
        {sure.value ? (
          <div class="sure" role="group" aria-label="Sign out?">
            <p>{waiting ? `${waiting} messages are not sent yet and would be lost. ` : ""}This browser forgets your chats; the cluster keeps them.</p>
            <button class="danger" ref={focusFirst} onClick={() => void signOut()}>Sign out</button> <button class="plain" onClick={() => { sure.value = false; focusAgain(card, "out"); }}>Stay</button>
          </div>
        ) : <button class="choice danger-choice" data-act="out" onClick={() => (sure.value = true)}><Door /><span>Sign out …</span></button>}
      </div>
    </Modal>
  );
}

function Choice<T extends string>({ legend, name, options, value, choose }: { legend: string; name: string; options: [T, string][]; value: T | undefined; choose: (value: T) => void }) {
  return (
    <fieldset class="themes"><legend>{legend}</legend>
      {options.map(([option, text]) => <label key={option}><input type="radio" name={name} checked={value === option} onChange={() => choose(option)} /><span>{text}</span></label>)}
    </fieldset>
  );
}

const NAME_MAX = 64;
const ABOUT_MAX = 500;

export function Profile() {
  const { accounts, back, session } = useModel();
  const { act, busy, problem } = useActions();
  const me = session.value!;
  const name = useSignal(me.name);
  const about = useSignal<string | null>(null);
  useEffect(() => void act("load", () => accounts.me().then((mine) => {
    name.value = mine.name;
    about.value = mine.about;
  })), []);
  const save = async (): Promise<void> => {
    await accounts.changeMe({ name: name.value.trim(), about: about.value ?? "" });
    session.value = accounts.session;
    back();
  };
  return (
    <Modal title="Profile">
      <form class="group-form" onSubmit={(event) => { event.preventDefault(); void act("save", save); }}>
        <div class="portrait"><Avatar id={me.user} title={name.value || me.handle} /><span class="quiet" dir="auto">@{me.handle}</span></div>
        <label><span>Name <em>as others see it</em></span><input value={name.value} maxLength={NAME_MAX} required dir="auto" onInput={(event) => (name.value = event.currentTarget.value)} /></label>
        <label><span>About <em>a line or two</em></span><textarea rows={3} value={about.value ?? ""} disabled={about.value === null} maxLength={ABOUT_MAX} dir="auto" onInput={(event) => (about.value = event.currentTarget.value)} /></label>
        <Wrong text={problem.value} />
        <button class="primary" disabled={!name.value.trim() || about.value === null || busy.value === "save"}>Save</button>
      </form>
    </Modal>
  );
}

const KEPT: ["out" | "kept", string][] = [["out", "Sign out"], ["kept", "Stay signed in"]];

export function Password() {
  const { accounts, back, space } = useModel();
  const { act, busy, problem } = useActions();
  const current = useSignal("");
  const next = useSignal("");
  const others = useSignal<"out" | "kept">("out");
  const save = async (): Promise<void> => {
    await accounts.changePassword(current.value, next.value, others.value === "kept");
    back();
  };
  return (
    <Modal title="Password">
      <form class="group-form" onSubmit={(event) => { event.preventDefault(); void act("save", save); }}>
        <input class="hidden" name="username" autocomplete="username" value={accounts.session?.handle ?? ""} readOnly tabIndex={-1} aria-hidden="true" />
        <label><span>Present password</span><input type="password" required maxLength={256} autocomplete="current-password" value={current.value} onInput={(event) => (current.value = event.currentTarget.value)} /></label>
        <label><span>New password <em>at least 8 characters</em></span><input type="password" required minLength={8} maxLength={256} autocomplete="new-password" value={next.value} onInput={(event) => (next.value = event.currentTarget.value)} /></label>
        <Choice legend="My other devices" name={space.idOf("others")} options={KEPT} value={others.value} choose={(value) => (others.value = value)} />
        <Wrong text={problem.value} />
        <button class="primary" disabled={!current.value || next.value.length < 8 || busy.value === "save"}>Change password</button>
      </form>
    </Modal>
  );
}

const AUDIENCES: [Audience, string][] = [["everyone", "Everybody"], ["contacts", "My contacts"], ["nobody", "Nobody"]];

export function PrivacyDialog() {
  const { accounts, space } = useModel();
  const { act, problem } = useActions();
  const privacy = useSignal<Privacy | null>(null);
  useEffect(() => void act("load", () => accounts.privacy().then((found) => (privacy.value = found))), []);
  const change = (to: Partial<Privacy>): void => {
    const before = privacy.value;
    if (!before) return;
    privacy.value = { ...before, ...to };
    void act("change", () => accounts.changePrivacy(to).then((now) => (privacy.value = now))).then((ok) => { if (!ok) privacy.value = before; });
  };
  return (
    <Modal title="Privacy">
      <div class="dialog-body">
        <Wrong text={problem.value} />
        <Choice legend="Who sees when I am online" name={space.idOf("online")} options={AUDIENCES} value={privacy.value?.online} choose={(online) => change({ online })} />
        <Choice legend="Who sees when I was last here" name={space.idOf("last-seen")} options={AUDIENCES} value={privacy.value?.last_seen} choose={(last_seen) => change({ last_seen })} />
        <p class="quiet small">This goes both ways: what you hide from somebody, you do not see of them either.</p>
        <Blocked />
      </div>
    </Modal>
  );
}

/** Whom one blocks. The list follows a change by moments: what was taken back here is not shown again. */
function Blocked() {
  const { accounts, nameOf, perform } = useModel();
  const { act, busy, problem } = useActions();
  const users = useSignal<string[]>([]);
  useEffect(() => void act("load", () => accounts.blocks().then((list) => (users.value = list.map((b) => b.user)))), []);
  const unblock = (user: string): void => {
    void act(user, () => perform({ op: "unblock", id: ids.newId(), user })).then((ok) => { if (ok) users.value = users.value.filter((other) => other !== user); });
  };
  return (
    <section class="dialog-body" aria-label="Blocked">
      <h3>Blocked</h3>
      <Wrong text={problem.value} />
      {users.value.length ? (
        <ul class="rows" aria-label="Blocked people">
          {users.value.map((user) => (
            <li key={user} class="edit-row">
              <span class="row-main"><Avatar id={user} title={nameOf(user)} size="small" /><span class="found-text"><b dir="auto">{nameOf(user)}</b></span></span>
              <button class="plain slim" aria-label={`Unblock ${nameOf(user)}`} disabled={busy.value === user} onClick={() => unblock(user)}>Unblock</button>
            </li>
          ))}
        </ul>
      ) : <p class="quiet small">Nobody. To block somebody, open their chat and then their name.</p>}
    </section>
  );
}
