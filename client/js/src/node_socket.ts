/**
 * A WebSocket (RFC 6455) for node where it has none of its own, over its `http`: what `socket.ts` is for browsers. Text frames, no extensions.
 *
 * Law: what breaks the protocol ends the connection; nothing that comes is held beyond `MESSAGE_BYTES_MAX`.
 */

import type { Duplex } from "node:stream";

import { SUBPROTOCOL, type ServerFrame } from "./protocol";
import { BUFFERED_BYTES_MAX, CONNECT_WAIT_MS, websocketUrl, type OpenSocket, type Socket, type SocketEvents } from "./socket";

export const MESSAGE_BYTES_MAX = 16 * 1024 * 1024;
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const CONTINUATION = 0, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;
const PROTOCOL_ERROR = 1002, ABNORMAL = 1006;

/** Node's own modules are loaded here, where it is known that this is node: a browser that reads this file could not. */
export async function nodeSockets(): Promise<OpenSocket> {
  const [crypto, http, https] = await Promise.all([import("node:crypto"), import("node:http"), import("node:https")]);
  const acceptOf = (key: string): string => crypto.createHash("sha1").update(key + MAGIC).digest("base64");
  return (address, events) => {
    const url = new URL(websocketUrl(address));
    return open(url, url.protocol === "wss:" ? https.request : http.request, acceptOf, events);
  };
}

function open(url: URL, ask: typeof import("node:http").request, acceptOf: (key: string) => string, events: SocketEvents): Socket {
  const key = Buffer.from(random(16)).toString("base64");
  let stream: Duplex | null = null;
  let ended = false;
  const end = (code: number, reason: string): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    stream?.destroy();
    asking.destroy();
    events.closed(code, reason);
  };
  const headers = {
    Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key, "Sec-WebSocket-Protocol": SUBPROTOCOL,
  };
  const asking = ask({ host: url.hostname.replace(/^\[|\]$/g, ""), port: url.port, path: url.pathname + url.search, headers });
  const timer = setTimeout(() => end(ABNORMAL, "no answer"), CONNECT_WAIT_MS);
  asking.on("error", () => end(ABNORMAL, "cannot reach the server"));
  asking.on("response", (response) => end(ABNORMAL, `refused with ${response.statusCode}`));
  asking.on("upgrade", (response, socket: Duplex, head: Buffer) => {
    stream = socket;
    if (ended || response.headers["sec-websocket-accept"] !== acceptOf(key) || response.headers["sec-websocket-protocol"] !== SUBPROTOCOL) {
      return end(ABNORMAL, "the answer is not a WebSocket's");
    }
    clearTimeout(timer);
    const reader = new FrameReader({
      text(text) {
        let frame: unknown;
        try {
          frame = JSON.parse(text);
        } catch {
          return; // what cannot be understood is passed over
        }
        if (!ended && typeof frame === "object" && frame !== null) events.frame(frame as ServerFrame);
      },
      ping: (data) => void socket.write(encoded(PONG, data)),
      close(code, reason) {
        socket.write(encoded(CLOSE, closing(code)));
        end(code, reason || "the connection was closed");
      },
      broken: (why) => end(PROTOCOL_ERROR, why),
    });
    socket.on("data", (data: Buffer) => ended || reader.feed(data));
    socket.on("error", () => end(ABNORMAL, "the connection was closed"));
    socket.on("close", () => end(ABNORMAL, "the connection was closed"));
    events.opened();
    if (head.length && !ended) reader.feed(head);
  });
  asking.end();
  return {
    send(frame) {
      if (ended || !stream) return;
      if (stream.writableLength > BUFFERED_BYTES_MAX) return end(ABNORMAL, "the network takes nothing");
      stream.write(encoded(TEXT, Buffer.from(JSON.stringify(frame))));
    },
    close(code) {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      if (stream) stream.end(encoded(CLOSE, closing(code)));
      else asking.destroy();
    },
  };
}

function random(bytes: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(bytes));
}

function closing(code: number): Buffer {
  const isSayable = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
  return isSayable ? Buffer.from([code >> 8, code & 255]) : Buffer.alloc(0);
}

/** One whole frame as a client sends it: masked. */
export function encoded(opcode: number, data: Uint8Array): Buffer {
  const { length } = data;
  const size = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const frame = Buffer.alloc(2 + size + 4 + length);
  frame[0] = 0x80 | opcode;
  frame[1] = 0x80 | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) frame.writeUInt16BE(length, 2);
  else if (size === 8) frame.writeBigUInt64BE(BigInt(length), 2);
  const mask = random(4);
  frame.set(mask, 2 + size);
  for (let i = 0; i < length; i++) frame[6 + size + i] = data[i]! ^ mask[i & 3]!;
  return frame;
}

export interface FrameEvents {
  text(text: string): void;
  ping(data: Buffer): void;
  close(code: number, reason: string): void;
  broken(why: string): void;
}

/** Takes frames of a server out of bytes as they come. */
export class FrameReader {
  private rest: Buffer = Buffer.alloc(0);
  private parts: Buffer[] = [];
  private partBytes = 0;
  private isOver = false;

  constructor(private readonly events: FrameEvents) {}

  feed(data: Buffer): void {
    this.rest = this.rest.length ? Buffer.concat([this.rest, data]) : data;
    while (!this.isOver && this.one());
  }

  /** Whether there was a whole frame. */
  private one(): boolean {
    const { rest } = this;
    if (rest.length < 2) return false;
    const opcode = rest[0]! & 15, isLast = (rest[0]! & 0x80) !== 0, short = rest[1]! & 127;
    if (rest[0]! & 0x70 || rest[1]! & 0x80) return this.fail("a frame that was not agreed on");
    const start = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < start) return false;
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    if (opcode >= CLOSE && (length > 125 || !isLast)) return this.fail("a control frame that is none");
    if (length + this.partBytes > MESSAGE_BYTES_MAX) return this.fail("a message that is too long");
    if (rest.length < start + length) return false;
    const data = rest.subarray(start, start + length);
    this.rest = rest.subarray(start + length);
    return this.handle(opcode, isLast, data);
  }

  private handle(opcode: number, isLast: boolean, data: Buffer): boolean {
    if (opcode === PING) this.events.ping(data);
    else if (opcode === CLOSE) {
      this.isOver = true;
      this.events.close(data.length >= 2 ? data.readUInt16BE(0) : 1005, data.subarray(2).toString("utf8"));
    } else if (opcode === TEXT || opcode === CONTINUATION) {
      if ((opcode === TEXT) !== (this.parts.length === 0)) return this.fail("parts of a message in a wrong order");
      this.parts.push(data);
      this.partBytes += data.length;
      if (isLast) {
        const text = Buffer.concat(this.parts).toString("utf8");
        this.parts = [];
        this.partBytes = 0;
        this.events.text(text);
      }
    } else if (opcode !== PONG) return this.fail("a kind of frame that was not agreed on");
    return true;
  }

  private fail(why: string): boolean {
    this.isOver = true;
    this.events.broken(why);
    return false;
  }
}
