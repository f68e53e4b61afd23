/** One WebSocket: opens it, decodes what comes, puts on the wire what goes out. Knows frames and text, nothing of what they mean. */

import { SUBPROTOCOL, WS_PATH, type ClientFrame, type ServerFrame } from "./protocol";

/** Past it the connection is of no use and is given up. The core keeps what must not be lost. */
export const BUFFERED_BYTES_MAX = 4 * 1024 * 1024;
export const CONNECT_WAIT_MS = 10_000;

export interface SocketEvents {
  opened(): void;
  frame(frame: ServerFrame): void;
  /** Once, also when it never opened; not after `close`. */
  closed(code: number, reason: string): void;
}
export interface Socket {
  send(frame: ClientFrame): void;
  close(code: number): void;
}
export type OpenSocket = (url: string, events: SocketEvents) => Socket;

/** `http(s)` addresses and such without a path, completed to the one of the WebSocket. */
export function websocketUrl(url: string): string {
  const parts = new URL(url.includes("://") ? url : `ws://${url}`);
  const scheme = { "http:": "ws:", "https:": "wss:" }[parts.protocol] ?? parts.protocol;
  return `${scheme}//${parts.host}${parts.pathname === "/" ? WS_PATH : parts.pathname}${parts.search}`;
}

export const openSocket: OpenSocket = (url, events) => {
  let ended = false;
  let opened = false;
  const end = (code: number, reason: string): void => {
    if (ended) return;
    ended = true;
    clearTimeout(timer);
    events.closed(code, reason);
  };
  const ws = new WebSocket(websocketUrl(url), SUBPROTOCOL);
  const giveUp = (reason: string): void => {
    end(1006, reason);
    ws.close();
  };
  const timer = setTimeout(() => giveUp("no answer"), CONNECT_WAIT_MS);
  ws.onopen = () => {
    if (ended) return;
    clearTimeout(timer);
    opened = true;
    events.opened();
  };
  ws.onmessage = (event: MessageEvent<unknown>) => {
    if (ended || typeof event.data !== "string") return;
    let frame: unknown;
    try {
      frame = JSON.parse(event.data);
    } catch {
      return; // what cannot be understood is passed over
    }
    if (typeof frame === "object" && frame !== null) events.frame(frame as ServerFrame);
  };
  ws.onclose = (event) => end(event.code, opened ? event.reason || "the connection was closed" : "cannot reach the server");
  return {
    send(frame) {
      if (ended || ws.readyState !== WebSocket.OPEN) return;
      if (ws.bufferedAmount > BUFFERED_BYTES_MAX) return giveUp("the network takes nothing");
      ws.send(JSON.stringify(frame));
    },
    close(code) {
      ended = true;
      clearTimeout(timer);
      ws.close(code);
    },
  };
};
