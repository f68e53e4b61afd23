/**
 * The client protocol: every frame of `homing.v1` as docs/protocol.md describes it. Ids are 32 hexadecimal digits, times are ms since 1970.
 *
 * Laws: fields that are left out have the default that the page names; unknown fields are ignored.
 */

export const SUBPROTOCOL = "homing.v1.json";
export const WS_PATH = "/v1/ws";
export const FRAME_BYTES_MAX = 65_536;
export const BODY_CHARS_MAX = 16_384;
export const GROUP_MEMBERS_MAX = 1_024;
export const TITLE_CHARS_MAX = 128;
export const HAVE_MAX = 100;
export const WATCH_MAX = 256;
export const GROUP_TYPES: ReadonlySet<string> = new Set(["group.create", "group.add", "group.remove", "group.leave", "group.rename", "group.role"]);

// ---------------------------------------------------------------- client to server

export interface Hello {
  op: "hello";
  token: string;
  cursor?: string;
  have?: Record<string, number>;
  client?: string;
}
export interface Send {
  op: "send";
  id: string;
  to: string;
  body: string;
  type?: string;
  ts?: number;
  after?: number;
}
export interface Ack {
  op: "ack";
  conversation: string;
  seq: number;
}
export interface Read {
  op: "read";
  conversation: string;
  seq: number;
}
export interface Fetch {
  op: "fetch";
  id: string;
  conversation: string;
  from_seq?: number;
  to_seq?: number;
  limit?: number;
}
export interface FetchHeads {
  op: "fetch_heads";
  id: string;
  before?: string;
  limit?: number;
}
export interface FetchMembers {
  op: "fetch_members";
  id: string;
  conversation: string;
}
export interface FetchPerson {
  op: "fetch_person";
  id: string;
  user: string;
}
export interface Ping {
  op: "ping";
}
export interface GroupCreate {
  op: "group_create";
  id: string;
  conversation: string;
  title: string;
  members: string[];
}
export interface GroupAdd {
  op: "group_add";
  id: string;
  conversation: string;
  members: string[];
  after?: number;
}
export interface GroupRemove {
  op: "group_remove";
  id: string;
  conversation: string;
  members: string[];
  after?: number;
}
export interface GroupRename {
  op: "group_rename";
  id: string;
  conversation: string;
  title: string;
  after?: number;
}
export interface GroupRole {
  op: "group_role";
  id: string;
  conversation: string;
  user: string;
  role: "admin" | "member";
  after?: number;
}
export interface GroupLeave {
  op: "group_leave";
  id: string;
  conversation: string;
  after?: number;
}
/** From then on neither can say anything to the other, until it is taken back: an entry `direct.block` of the direct conversation. */
export interface Block {
  op: "block";
  id: string;
  user: string;
  after?: number;
}
export interface Unblock {
  op: "unblock";
  id: string;
  user: string;
  after?: number;
}
/** Replaces the set of people whose presence is told; empty ends it. */
export interface Watch {
  op: "watch";
  users: string[];
}
export interface SayTyping {
  op: "typing";
  /** Or a user: the direct conversation with him. */
  conversation: string;
  kind: "typing" | "recording" | "stopped";
}
/** What makes an entry. */
export type Request = Block | Unblock | Send | GroupCreate | GroupAdd | GroupRemove | GroupRename | GroupRole | GroupLeave;
export type Question = Fetch | FetchHeads | FetchMembers | FetchPerson;
export type ClientFrame = Hello | Ack | Read | Ping | Watch | SayTyping | Question | Request;

// ---------------------------------------------------------------- server to client

export interface Entry {
  conversation: string;
  seq: number;
  message_id: string;
  sender: string;
  /** The client message id under which it was sent. */
  id: string;
  type?: string;
  body?: string;
  ts: number;
  /** Countable messages up to and including this entry. */
  ordinal: number;
  sent_ts?: number;
}
/** How far a member has received and read: user, delivered, read. */
export type Mark = [user: string, delivered: number, read: number];

export interface Head {
  conversation: string;
  seq: number;
  ordinal: number;
  last?: Entry | null;
  delivered?: number;
  read?: number;
  read_ordinal?: number;
  marks?: Mark[];
  title?: string;
  peer?: string;
  role?: string;
  until_seq?: number | null;
}
export interface Welcome {
  op: "welcome";
  session: string;
  user: string;
  device: string;
  name?: string;
  node: string;
  time: number;
  heartbeat_ms: number;
}
export interface Heads {
  op: "heads";
  heads: Head[];
  id?: string | null;
  more?: string | null;
}
export interface Synced {
  op: "synced";
  cursor: string;
  marks_ms?: number;
}
export interface Message {
  op: "message";
  entry: Entry;
}
export interface Sent {
  op: "sent";
  id: string;
  entry: Entry;
}
export interface HeadChanged {
  op: "head";
  conversation: string;
  seq: number;
}
export interface Receipts {
  op: "receipts";
  conversation: string;
  marks: Mark[];
}
export interface Entries {
  op: "entries";
  id: string;
  conversation: string;
  entries: Entry[];
  head: number;
}
export interface MemberInfo {
  user: string;
  role?: string;
}
export interface MembersPage {
  op: "members";
  id: string;
  conversation: string;
  members: MemberInfo[];
  title?: string;
}
export interface PersonFrame {
  op: "person";
  id: string;
  user: string;
  name?: string;
}
export interface Pong {
  op: "pong";
  time: number;
  cursor?: string | null;
  marks_ms?: number;
}
export interface ErrorFrame {
  op: "error";
  code: number;
  name: string;
  message: string;
  id?: string | null;
  field?: string | null;
  conversation?: string | null;
  retry_after_ms?: number | null;
}
export interface Reconnect {
  op: "reconnect";
  after_ms: number;
  url?: string | null;
  reason?: string;
}
export interface PresenceFrame {
  op: "presence";
  people: { user: string; state: "online" | "offline" | "unknown"; last_seen?: number | null }[];
}
export interface TypingFrame {
  op: "typing";
  conversation: string;
  user: string;
  kind: "typing" | "recording" | "stopped";
  /** How long it may be shown, unless it is said again. */
  ms: number;
}
export type ServerFrame =
  | PresenceFrame | TypingFrame
  | Welcome | Heads | Synced | Message | Sent | HeadChanged | Receipts | Entries | MembersPage | PersonFrame | Pong | ErrorFrame | Reconnect;
export type Answer = Entries | Heads | MembersPage | PersonFrame;
