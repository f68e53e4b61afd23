/** One open conversation: head, rows, composer. */

import { useSignal } from "@preact/signals";
import { BODY_CHARS_MAX, ids, unreadOf } from "homing-client";
import type { TargetedInputEvent } from "preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import { Banner } from "./banner";
import { Alert, Back, Down, Send, Tick } from "./icons";
import { MessageLog } from "./log";
import { useActions, Wrong } from "./modal";
import { useModel } from "./model";
import type { Blocks } from "./people";
import { Activity, activityText, Face, presenceText } from "./status";
import { Avatar, dayOf, eventText, isText, linked, sameDay, timeOf } from "./text";
import type { Row, Timeline } from "./timeline";

const CLUSTER_MS = 5 * 60_000;

export function Chat() {
  const model = useModel();
  const { blocksOf, go, label, listRevision, membersOf, place, session, show, theClient, timeline, titleOf } = model;
  const at = place.value!;
  const line = timeline.value!;
  void listRevision.value;
  const { conversation } = at;
  const title = titleOf(conversation, at.peer);
  const isGroup = ids.kindOf(conversation) === ids.GROUP;
  const state = theClient().core.conversations.get(conversation);
  const me = session.value!.user;
  const lastSeen = useRef(0);
  useEffect(() => void (lastSeen.current = 0), [conversation]);
  const seen = (row: Row): void => {
    if (row.seq <= lastSeen.current) return;
    lastSeen.current = row.seq;
    theClient().read(conversation, row.seq, row.ordinal);
  };
  const peer = at.peer || state?.peer || "";
  const members = isGroup ? membersOf(conversation) : [];
  const activity = activityText(model, conversation);
  const under = isGroup ? (members.length ? `${members.length} members` : "") : presenceText(model, peer);
  const blocks = blocksOf(conversation);
  const unread = state ? unreadOf(state, me) : 0;
  return (
    <section class="chat" aria-label={label(`Chat with ${title}`)}>
      <header class="chat-head">
        <button class="round back" aria-label="Back to the chats" onClick={() => go(null)}><Back /></button>
        <div class="chat-who">
          <Face id={peer || conversation} title={title} size="small" />
          <div class="chat-title">
            <h2 dir="auto"><button aria-haspopup="dialog" title={isGroup ? "Who is in this group" : `About ${title}`} onClick={() => (isGroup ? show("members") : show("person", peer))}>{title}</button></h2>
            {activity ? <Activity text={activity} /> : under && <span class="chat-under">{under}</span>}
          </div>
        </div>
      </header>
      <div class="phone-only"><Banner /></div>
      {line.opened.value ? (
        <MessageLog
          key={conversation}
          label={`Messages with ${title}`}
          rows={line.rows.value}
          openAt={line.divider.value}
          complete={line.complete.value || line.state.value === "offline"}
          hasNewest={line.hasNewest}
          older={() => void line.older()}
          newest={() => void line.latest()}
          seen={seen}
          head={<LogHead line={line} title={title} />}
          render={(row, before, after) => <MessageRow row={row} before={before} after={after} me={me} isGroup={isGroup} conversation={conversation} divider={line.divider.value} />}
          foot={(away, jump) => away && <button class="jump" aria-label="Jump to the latest message" onClick={jump}><Down />{unread > 0 && <span class="badge">{unread}</span>}</button>}
        />
      ) : <div class="log-frame" aria-busy="true" />}
      {state?.until_seq != null ? <p class="composer gone">You are no longer in this group.</p> : blocks.mine || blocks.theirs ? <Blocked blocks={blocks} peer={peer} title={title} /> : <Composer key={conversation} conversation={conversation} title={title} />}
    </section>
  );
}

/** Stands where one would write. */
function Blocked({ blocks, peer, title }: { blocks: Blocks; peer: string; title: string }) {
  const { perform } = useModel();
  const { act, busy, problem } = useActions();
  return (
    <div class="composer gone" role="group" aria-label="Blocked">
      <Wrong text={problem.value} />
      <p dir="auto">{blocks.mine ? `You blocked ${title}: neither of you can write here.` : `${title} blocked this chat: neither of you can write here.`}</p>
      {blocks.mine && <button class="plain" disabled={busy.value !== ""} onClick={() => void act("unblock", () => perform({ op: "unblock", id: ids.newId(), user: peer }))}>Unblock</button>}
    </div>
  );
}

function LogHead({ line, title }: { line: Timeline; title: string }) {
  if (line.state.value === "offline") return <p class="quiet center">Older messages come when there is a connection.</p>;
  if (!line.complete.value) return <p class="quiet center" role="status">Loading …</p>;
  return <p class="quiet center" dir="auto">{line.rows.value.length ? `This is the beginning of the chat with ${title}.` : `Say hello to ${title}.`}</p>;
}

interface RowProps {
  row: Row;
  before: Row | undefined;
  after: Row | undefined;
  me: string;
  isGroup: boolean;
  conversation: string;
  divider: string | null;
}

function MessageRow({ row, before, after, me, isGroup, conversation, divider }: RowProps) {
  const { nameOf, progress } = useModel();
  const isMine = row.sender === me;
  const startsDay = !before || !sameDay(before.ts, row.ts);
  const isDivider = row.key === divider;
  const joinsUp = !startsDay && !isDivider && joined(before, row);
  const joinsDown = joined(row, after) && after!.key !== divider;
  return (
    <>
      {startsDay && <div class="day"><span>{dayOf(row.ts)}</span></div>}
      {isDivider && <div class="divider" role="separator" aria-label="Unread messages"><span>Unread</span></div>}
      {isText(row) ? (
        <div class={`line ${isMine ? "mine" : "theirs"} ${joinsUp ? "up" : ""} ${joinsDown ? "down" : ""}`}>
          {isGroup && !isMine && <span class="line-avatar">{!joinsDown && <Avatar id={row.sender} title={nameOf(row.sender)} size="small" />}</span>}
          <div class={`bubble ${row.kind}`}>
            {isMine ? <span class="hidden">You: </span> : isGroup && !joinsUp ? <span class="sender" dir="auto">{nameOf(row.sender)}</span> : <span class="hidden">{nameOf(row.sender)}: </span>}
            <span class="body" dir="auto">{linked(row.body)}</span>
            <span class="meta"><time>{timeOf(row.ts)}</time>{isMine && row.kind !== "failed" && <Tick state={row.kind === "queued" ? "queued" : progress(conversation, row.seq)} />}</span>
          </div>
          {row.kind === "failed" && <Failed row={row} />}
        </div>
      ) : <p class="event" dir="auto">{eventText(row.sender, row.type, row.body, me, nameOf)}</p>}
    </>
  );
}

function joined(a: Row | undefined, b: Row | undefined): boolean {
  return !!a && !!b && a.sender === b.sender && isText(a) && isText(b) && a.kind !== "failed" && b.ts - a.ts < CLUSTER_MS && sameDay(a.ts, b.ts);
}

function Failed({ row }: { row: Row }) {
  const { theClient } = useModel();
  return (
    <div class="failed-foot" role="group" aria-label="Not sent">
      <Alert /> <span>Not sent: {row.reason}</span>
      <button class="link" onClick={() => void theClient().retry(row.id)}>Try again</button>
      <button class="link" onClick={() => theClient().discard(row.id)}>Delete</button>
    </div>
  );
}

const DRAFT_MS = 300;

function Composer({ conversation, title }: { conversation: string; title: string }) {
  const { connection, mayFocus, say, session, theClient, type } = useModel();
  const text = useSignal(theClient().drafts.get(conversation) ?? "");
  const problem = useSignal("");
  const box = useRef<HTMLTextAreaElement>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const keep = (): void => {
    clearTimeout(timer.current);
    theClient().setDraft(conversation, text.value);
  };
  useLayoutEffect(() => {
    if (mayFocus() && !matchMedia("(pointer: coarse)").matches) box.current?.focus();
    grow();
    return () => {
      // The client may be gone: somebody signed out.
      if (!session.value || connection.value.state === "idle") return;
      keep();
      type(conversation, "stopped");
    };
  }, []);
  const grow = (): void => {
    const element = box.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${Math.min(element.scrollHeight, 200)}px`;
  };
  const input = (event: TargetedInputEvent<HTMLTextAreaElement>): void => {
    text.value = event.currentTarget.value;
    grow();
    clearTimeout(timer.current);
    timer.current = setTimeout(keep, DRAFT_MS);
    type(conversation, text.value.trim() ? "typing" : "stopped");
  };
  const send = async (): Promise<void> => {
    const body = text.value.trim();
    if (!body) return;
    text.value = "";
    problem.value = "";
    keep();
    requestAnimationFrame(grow);
    try {
      await say(body);
    } catch (error) {
      text.value ||= body; // nothing that was written is lost
      problem.value = error instanceof Error ? error.message : String(error);
    }
  };
  const key = (event: KeyboardEvent): void => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
    event.preventDefault();
    void send();
  };
  return (
    <form class="composer" onSubmit={(event) => { event.preventDefault(); void send(); }}>
      {problem.value && <p class="wrong" role="alert">{problem.value}</p>}
      <div class="composer-box">
        <textarea ref={box} rows={1} dir="auto" maxLength={BODY_CHARS_MAX} placeholder="Message" aria-label={`Message to ${title}`} value={text.value} onInput={input} onKeyDown={key} enterkeyhint="enter" />
        <button class="send" aria-label="Send" title="Send" disabled={!text.value.trim()}><Send /></button>
      </div>
    </form>
  );
}
