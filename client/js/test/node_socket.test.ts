/** The WebSocket for node without one: frames as a server may cut them, and what ends a connection. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { test } from "node:test";

import { encoded, FrameReader, MESSAGE_BYTES_MAX, nodeSockets } from "../src/node_socket";
import type { ServerFrame } from "../src/protocol";

function frame(opcode: number, data: string | Buffer, isLast = true): Buffer {
  const body = Buffer.from(data);
  const head = body.length < 126 ? Buffer.from([0, body.length]) : body.length < 65_536 ? Buffer.from([0, 126, body.length >> 8, body.length & 255]) : Buffer.from([0, 127, 0, 0, 0, 0, ...[24, 16, 8, 0].map((s) => (body.length >> s) & 255)]);
  head[0] = (isLast ? 0x80 : 0) | opcode;
  return Buffer.concat([head, body]);
}

function read(chunks: Buffer[]): string[] {
  const said: string[] = [];
  const reader = new FrameReader({
    text: (text) => said.push(`text ${text.length > 40 ? text.length : text}`), ping: (data) => said.push(`ping ${data}`),
    close: (code, reason) => said.push(`close ${code} ${reason}`), broken: () => said.push("broken"),
  });
  for (const chunk of chunks) reader.feed(chunk);
  return said;
}

test("frames are read however they are cut", () => {
  const close = Buffer.concat([Buffer.from([0x03, 0xf4]), Buffer.from("bye")]);
  const all = Buffer.concat([frame(1, "a"), frame(1, "ü", false), frame(9, "p"), frame(0, "b"), frame(1, "x".repeat(300)), frame(1, "y".repeat(70_000)), frame(8, close)]);
  const wanted = ["text a", "ping p", "text üb", "text 300", "text 70000", "close 1012 bye"];
  assert.deepEqual(read([all]), wanted);
  assert.deepEqual(read(Array.from({ length: Math.ceil(all.length / 7) }, (_, i) => all.subarray(i * 7, i * 7 + 7))), wanted);
});

test("what breaks the protocol is seen, and nothing after it counts", () => {
  const masked = frame(1, "a");
  masked[1]! |= 0x80;
  const reserved = frame(1, "a");
  reserved[0]! |= 0x40;
  const huge = Buffer.from([0x81, 127, 0, 0, 0, 0, 0xff, 0, 0, 0]);
  assert.ok(0xff000000 > MESSAGE_BYTES_MAX);
  for (const bad of [masked, reserved, huge, frame(0, "a"), frame(2, "a"), frame(9, "p", false), Buffer.concat([frame(1, "a", false), frame(1, "b")])]) {
    assert.deepEqual(read([Buffer.concat([bad, frame(1, "after")])]), ["broken"]);
  }
});

async function serve(use: (stream: Duplex) => void, accept?: string): Promise<[Server, string]> {
  const server = createServer((_, response) => void response.writeHead(404).end());
  server.on("upgrade", (request, stream) => {
    const key = createHash("sha1").update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
    stream.write(["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept ?? key}`, `Sec-WebSocket-Protocol: ${request.headers["sec-websocket-protocol"]}`, "", ""].join("\r\n"));
    use(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return [server, `ws://127.0.0.1:${(server.address() as AddressInfo).port}`];
}

async function talk(url: string, opened: (send: (text: string) => void) => void): Promise<string[]> {
  const open = await nodeSockets();
  const said: string[] = [];
  await new Promise<void>((resolve) => {
    const socket = open(url, {
      opened: () => opened((text) => socket.send(text as never)),
      frame: (f: ServerFrame) => said.push(JSON.stringify(f)),
      closed: (code, reason) => {
        said.push(`closed ${code} ${reason}`);
        resolve();
      },
    });
  });
  return said;
}

test("it opens, speaks, hears, and ends as the server says", async () => {
  const [server, url] = await serve((stream) => {
    stream.on("data", (data: Buffer) => {
      const mask = data.subarray(2, 6);
      const text = Buffer.from(data.subarray(6, 6 + (data[1]! & 127)).map((b, i) => b ^ mask[i & 3]!)).toString();
      stream.write(Buffer.concat([frame(1, `{"echo":${text}}`), frame(1, "not JSON"), frame(8, Buffer.from([0x03, 0xf5]))]));
    });
  });
  const said = await talk(url, (send) => setTimeout(() => send("hello"), 10));
  server.close();
  assert.deepEqual(said, ['{"echo":"hello"}', "closed 1013 the connection was closed"]);
});

test("an answer that is no WebSocket's, a refusal and silence behind a port are told", async () => {
  const [wrong, url] = await serve(() => undefined, "nonsense");
  assert.deepEqual(await talk(url, () => assert.fail("opened")), ["closed 1006 the answer is not a WebSocket's"]);
  wrong.close();
  const plain = createServer((_, response) => void response.writeHead(403).end());
  await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
  const { port } = plain.address() as AddressInfo;
  assert.deepEqual(await talk(`ws://127.0.0.1:${port}`, () => assert.fail("opened")), ["closed 1006 refused with 403"]);
  plain.close();
  assert.deepEqual(await talk(`ws://127.0.0.1:${port}`, () => assert.fail("opened")), ["closed 1006 cannot reach the server"]);
});

test("what a client sends is masked, and long bodies say their length", () => {
  for (const length of [0, 125, 126, 65_535, 65_536]) {
    const data = Buffer.alloc(length, 7);
    const sent = encoded(1, data);
    const start = sent.length - length;
    const mask = sent.subarray(start - 4, start);
    assert.equal(sent[1]! & 0x80, 0x80);
    assert.equal(start, length < 126 ? 6 : length < 65_536 ? 8 : 14);
    assert.ok(data.equals(Buffer.from(sent.subarray(start).map((b, i) => b ^ mask[i & 3]!))));
  }
});
