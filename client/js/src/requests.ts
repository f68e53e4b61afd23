/** What a request must look like to have a chance: checked before it is queued, so that no outbox fills with what no server takes. */

import * as ids from "./ids";
import { BODY_CHARS_MAX, FRAME_BYTES_MAX, GROUP_MEMBERS_MAX, GROUP_TYPES, TITLE_CHARS_MAX, type Request } from "./protocol";

/** The request could never be accepted; nothing was queued. */
export class RequestInvalid extends Error {}

export function validate(frame: Request): void {
  const bytes = new TextEncoder().encode(JSON.stringify(frame)).length;
  if (bytes > FRAME_BYTES_MAX) throw new RequestInvalid(`the request is ${bytes} bytes long, ${FRAME_BYTES_MAX} are allowed`);
  if (!frame.id || charsOf(frame.id) > 64) throw new RequestInvalid("a request's id has 1 to 64 characters");
  const named = frame.op === "send" ? [frame.to] : "conversation" in frame ? [frame.conversation] : [];
  if ("members" in frame) named.push(...frame.members);
  if ("user" in frame) named.push(frame.user);
  for (const id of named) if (!ids.isId(id)) throw new RequestInvalid(`not an id: ${id}`);
  if ((frame.op === "block" || frame.op === "unblock") && ids.kindOf(frame.user) !== ids.USER) throw new RequestInvalid(`not a user: ${frame.user}`);
  if ("members" in frame && frame.members.length > GROUP_MEMBERS_MAX) throw new RequestInvalid(`a group has at most ${GROUP_MEMBERS_MAX} members`);
  if ("title" in frame && (!frame.title || charsOf(frame.title) > TITLE_CHARS_MAX)) throw new RequestInvalid(`a title has 1 to ${TITLE_CHARS_MAX} characters`);
  if (frame.op !== "send") return;
  if (charsOf(frame.body) > BODY_CHARS_MAX) throw new RequestInvalid(`a message has at most ${BODY_CHARS_MAX} characters`);
  const type = frame.type ?? "text";
  if (!/^[a-z][a-z0-9_.]{0,31}$/.test(type) || GROUP_TYPES.has(type) || type.startsWith("direct.")) throw new RequestInvalid(`not a type that can be sent: ${type}`);
}

/** Characters as the server counts them: code points. */
function charsOf(text: string): number {
  return text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0);
}
