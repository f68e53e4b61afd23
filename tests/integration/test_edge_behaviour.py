"""What the edge does with people: handshakes, HTTP on the same port, slow readers, silence, floods of garbage, and its own end."""

from __future__ import annotations

import gc
import http.client
import random
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import msgspec
import psutil
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from node.edge.codec import BadFrame, decode
from node.edge.picows_edge import PicowsEdge
from node.edge.websocket import Connection, EdgeLimits
from tests.integration.raw_client import BINARY, CLOSE, CONT, PING, TEXT, EdgeThread, RawClient, close_frame, frame, serving, wait_for

PATIENCE_S = 5.0


class Recorder:
    """A handler that keeps what happened and does as its test says."""

    def __init__(self) -> None:
        self.opened: list[Connection] = []
        self.messages: list[bytes] = []
        self.closed: list[tuple[int, int]] = []
        self.frames = 0
        self.do: Callable[[Connection, bytes], None] = lambda c, data: c.send(data)

    def on_open(self, c: Connection) -> None:
        self.opened.append(c)

    def on_message(self, c: Connection, data: bytes) -> None:
        self.frames += 1
        if len(self.messages) < 1000:
            self.messages.append(data)
        self.do(c, data)

    def on_close(self, c: Connection, code: int) -> None:
        self.closed.append((c.id, code))


async def healthz(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


async def upload(request: web.Request) -> web.Response:
    return web.Response(text=str(len(await request.read())))


def serve(recorder: Recorder, limits: EdgeLimits | None = None) -> AbstractContextManager[EdgeThread]:
    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_post("/upload", upload)
    return serving(lambda: PicowsEdge(recorder, app, limits or EdgeLimits()))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def edge(recorder: Recorder) -> Iterator[EdgeThread]:
    with serve(recorder) as thread:
        yield thread


# ---------------------------------------------------------------- handshakes and HTTP


@pytest.mark.parametrize(("name", "binary"), [("homing.v1.json", False), ("homing.v1.msgpack", True)])
def test_the_sub_protocol_decides_between_text_and_binary(edge: EdgeThread, recorder: Recorder, name: str, binary: bool) -> None:
    with RawClient(edge.port) as client:
        status, headers = client.handshake(client.request(Sec_WebSocket_Protocol=f"x, {name}"))
        assert (status, headers["sec-websocket-protocol"]) == (101, name)
        client.send(frame(BINARY if binary else TEXT, b"hi"))
        answer = client.receive()
        assert answer is not None and (answer.op, answer.payload) == (BINARY if binary else TEXT, b"hi")
        assert recorder.opened[0].binary is binary
        assert recorder.opened[0].remote == "{}:{}".format(*client.sock.getsockname())


@pytest.mark.parametrize(("name", "op"), [("homing.v1.json", BINARY), ("homing.v1.msgpack", TEXT)])
@pytest.mark.parametrize("fin", [True, False])
def test_the_other_kind_of_message_is_refused(edge: EdgeThread, recorder: Recorder, name: str, op: int, fin: bool) -> None:
    with RawClient(edge.port).open(name) as client:
        client.send(frame(op, b"hi", fin=fin))
        (last,) = client.receive_all()
        assert last.code == 1003
    wait_for(lambda: recorder.closed)
    assert recorder.closed == [(recorder.opened[0].id, 1003)] and not recorder.messages


@pytest.mark.parametrize(
    ("change", "status"),
    [({"Sec_WebSocket_Protocol": None}, 400), ({"Origin": "https://evil.example"}, 403), ({"Sec_WebSocket_Version": "8"}, 426)],
)
def test_a_refused_handshake_gets_its_status_and_the_connection_ends(
    edge: EdgeThread, recorder: Recorder, change: dict[str, str], status: int
) -> None:
    with RawClient(edge.port) as client:
        assert client.handshake(client.request(**change))[0] == status
        assert client.receive() is None
        assert not recorder.opened


def test_another_path_is_http_even_with_an_upgrade_header(edge: EdgeThread) -> None:
    with RawClient(edge.port) as client:
        assert client.handshake(client.request(target="/v1/wsx"))[0] == 404
    with RawClient(edge.port) as client:
        assert client.handshake(client.request(target="/v1/ws?slot=17"))[0] == 101


def test_frames_may_come_in_the_same_packet_as_the_handshake(edge: EdgeThread) -> None:
    with RawClient(edge.port) as client:
        assert client.handshake(client.request() + frame(TEXT, b"a") + frame(TEXT, b"b" * 5000)[:100])[0] == 101
        answer = client.receive()
        assert answer is not None and answer.payload == b"a"


def test_a_handshake_may_come_byte_by_byte(edge: EdgeThread) -> None:
    with RawClient(edge.port) as client:
        for octet in client.request():
            client.send(bytes([octet]))
        assert client.response()[0] == 101


def test_http_is_served_on_the_same_port(edge: EdgeThread) -> None:
    http_client = http.client.HTTPConnection("127.0.0.1", edge.port, timeout=PATIENCE_S)
    http_client.request("GET", "/healthz")
    assert http_client.getresponse().read() == b'{"ok": true}'
    http_client.request("POST", "/upload", body=b"x" * 300_000)  # on the same connection, more than one packet
    assert http_client.getresponse().read() == b"300000"
    http_client.request("GET", "/nothing")
    assert http_client.getresponse().status == 404
    http_client.close()


def test_a_connection_that_carried_http_may_become_a_websocket(edge: EdgeThread, recorder: Recorder) -> None:
    with RawClient(edge.port) as client:
        for _ in range(2):
            client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.response()[0] == 200
        assert client.handshake(client.request() + frame(TEXT, b"early"))[0] == 101
        for text in (b"early", b"later", b"x" * 60_000):
            if text != b"early":
                client.send(frame(TEXT, text))
            answer = client.receive()
            assert answer is not None and answer.payload == text
        client.send(close_frame(1000))
        assert [last.code for last in client.receive_all()] == [1000]
    wait_for(lambda: recorder.closed)


def test_a_refused_upgrade_on_a_connection_that_carried_http_is_answered_alike(edge: EdgeThread) -> None:
    with RawClient(edge.port) as client:
        client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.response()[0] == 200
        assert client.handshake(client.request(Sec_WebSocket_Protocol=None))[0] == 400


def test_a_request_head_has_its_time_and_its_size(recorder: Recorder) -> None:
    with serve(recorder, EdgeLimits(handshake_timeout_s=0.2)) as edge:
        with RawClient(edge.port) as slow:
            slow.send(b"GET /v1/ws HTTP/1.1\r\n")
            assert slow.receive() is None
        with RawClient(edge.port) as silent:
            assert silent.receive() is None
        with RawClient(edge.port) as large:
            assert large.handshake(b"GET /v1/ws HTTP/1.1\r\n" + b"a: b\r\n" * 4000)[0] == 431


def test_connections_have_a_bound_and_room_is_room_again(recorder: Recorder) -> None:
    with serve(recorder, EdgeLimits(connections_max=2)) as edge:
        with RawClient(edge.port).open(), RawClient(edge.port).open(), RawClient(edge.port) as third:
            assert third.response()[0] == 503
            assert third.receive() is None
        wait_for(lambda: edge.call(edge.edge.connections) == 0)
        with RawClient(edge.port).open():
            pass


# ---------------------------------------------------------------- ends


def test_the_peers_close_is_reported_once_with_its_code(edge: EdgeThread, recorder: Recorder) -> None:
    with RawClient(edge.port).open() as client:
        client.send(close_frame(4321, b"why not"))
        assert [last.code for last in client.receive_all()] == [4321]
    wait_for(lambda: recorder.closed)
    assert recorder.closed == [(recorder.opened[0].id, 4321)]


def test_a_connection_that_breaks_is_reported_as_abnormal(edge: EdgeThread, recorder: Recorder) -> None:
    with RawClient(edge.port).open() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
    wait_for(lambda: recorder.closed)
    assert recorder.closed == [(recorder.opened[0].id, 1006)]


def test_our_close_carries_code_and_reason_and_ends_messages(edge: EdgeThread, recorder: Recorder) -> None:
    def close(c: Connection, _: bytes) -> None:
        c.close(4401, "ü" * 100)
        c.close(1000, "again")
        c.send(b"not sent")

    recorder.do = close
    with RawClient(edge.port).open() as client:
        client.send(frame(TEXT, b"1"), frame(TEXT, b"2"))
        last = client.receive()
        assert last is not None and (last.code, last.payload[2:].decode()) == (4401, "ü" * 61)
        client.send(frame(TEXT, b"3"), close_frame(4401))
        assert client.receive() is None
    wait_for(lambda: recorder.closed)
    assert recorder.messages == [b"1"] and recorder.closed == [(recorder.opened[0].id, 4401)]


def test_who_does_not_answer_our_close_is_cut(recorder: Recorder) -> None:
    recorder.do = lambda c, data: c.close(1000)
    with serve(recorder, EdgeLimits(close_timeout_s=0.1)) as edge, RawClient(edge.port).open() as client:
        client.send(frame(TEXT, b"1"))
        assert [last.code for last in client.receive_all()] == [1000]
        wait_for(lambda: recorder.closed)


def test_who_goes_on_sending_after_a_failure_is_cut(recorder: Recorder) -> None:
    with serve(recorder, EdgeLimits(drain_bytes_max=100_000)) as edge, RawClient(edge.port).open() as client:
        client.send(frame(TEXT, b"\xff"))
        begin = time.monotonic()
        with pytest.raises(OSError):
            for _ in range(10_000):
                client.send(b"x" * 65_536)
        assert time.monotonic() - begin < PATIENCE_S
        wait_for(lambda: recorder.closed)
        assert recorder.closed == [(recorder.opened[0].id, 1007)]


def test_a_bug_in_the_handler_costs_one_connection(edge: EdgeThread, recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    def fail(c: Connection, data: bytes) -> None:
        if data == b"fail":
            raise RuntimeError("a bug")
        c.send(data)

    recorder.do = fail
    with RawClient(edge.port).open() as one, RawClient(edge.port).open() as other:
        one.send(frame(TEXT, b"fail"))
        last = one.receive()
        assert last is not None and last.code == 1011
        other.send(frame(TEXT, b"fine"))
        answer = other.receive()
        assert answer is not None and answer.payload == b"fine"
    assert "a bug" in caplog.text


def test_stopping_says_good_bye_to_all_and_waits_for_them(recorder: Recorder) -> None:
    with serve(recorder, EdgeLimits(close_timeout_s=0.3)) as edge:
        clients = [RawClient(edge.port).open() for _ in range(5)]
        half = RawClient(edge.port)
        half.send(b"GET /v1/ws")
        edge.run(edge.edge.stop(1012, "restart"))
        for client in clients:
            assert [last.code for last in client.receive_all()] == [1012]
            client.sock.close()
        assert half.receive() is None
        half.sock.close()
        assert sorted(recorder.closed) == sorted((c.id, 1012) for c in recorder.opened)
        with pytest.raises(ConnectionRefusedError):
            RawClient(edge.port)


# ---------------------------------------------------------------- people who are slow, silent or mad


def test_a_reader_that_never_reads_is_closed_at_the_bound_and_holds_up_nobody(recorder: Recorder) -> None:
    limits = EdgeLimits(buffered_bytes_max=256 * 1024)
    message = b"x" * 10_000
    highest = 0

    def flood(c: Connection, data: bytes) -> None:
        nonlocal highest
        if data != b"flood":
            c.send(data)
            return
        for _ in range(3000):
            c.send(message)
            highest = max(highest, c.buffered())

    recorder.do = flood
    with (
        serve(recorder, limits) as edge,
        RawClient(edge.port, receive_buffer_bytes=4096).open() as deaf,
        RawClient(edge.port).open() as lively,
    ):
        deaf.send(frame(TEXT, b"flood"))
        wait_for(lambda: recorder.closed)
        assert recorder.closed == [(recorder.opened[0].id, 1013)]
        assert limits.buffered_bytes_max < highest <= limits.buffered_bytes_max + len(message) + 10
        begin = time.monotonic()
        lively.send(frame(TEXT, b"hi"))
        answer = lively.receive()
        assert answer is not None and answer.payload == b"hi"
        assert time.monotonic() - begin < 1.0
        assert edge.call(recorder.opened[0].buffered) == 0


def test_pings_of_a_peer_that_does_not_read_are_bounded_too(recorder: Recorder) -> None:
    limits = EdgeLimits(buffered_bytes_max=64 * 1024)
    with serve(recorder, limits) as edge, RawClient(edge.port, receive_buffer_bytes=4096).open() as deaf:
        pings = frame(PING, b"x" * 125) * 1000
        with pytest.raises(OSError):
            for _ in range(1000):
                deaf.send(pings)
        wait_for(lambda: recorder.closed)
        assert recorder.closed == [(recorder.opened[0].id, 1013)]


def test_a_silent_peer_is_pinged_and_a_half_open_one_is_cut(recorder: Recorder) -> None:
    limits = EdgeLimits(ping_idle_s=0.2, idle_s=0.5)
    with serve(recorder, limits) as edge, RawClient(edge.port).open() as half_open, RawClient(edge.port).open() as lively:
        ping = lively.receive()
        assert ping is not None and ping.op == PING
        lively.send(frame(10, ping.payload))
        frames = half_open.receive_all()
        assert [f.op for f in frames] == [PING]
        wait_for(lambda: recorder.closed)
        assert recorder.closed == [(recorder.opened[0].id, 1006)]
        lively.send(frame(TEXT, b"still here"))
        while (answer := lively.receive()) is not None and answer.op == PING:
            pass
        assert answer is not None and answer.payload == b"still here"


def garbage(rng: random.Random, op: int) -> bytes:
    """A well-framed message with anything in it."""
    payload = rng.choice((rng.randbytes(rng.randrange(40)), b'{"op":"send","id":5}', msgspec.msgpack.encode({"op": "nope"}), b"[" * 50))
    return frame(op, payload)


def test_a_million_garbage_frames_are_answered_or_refused_within_the_memory_of_one(recorder: Recorder) -> None:
    def answer(c: Connection, data: bytes) -> None:
        assert isinstance(decode(data, c.binary), BadFrame)
        if recorder.frames % 10_000 == 0:
            c.send(b"%d" % recorder.frames)

    recorder.do = answer
    rng = random.Random(11)
    blob, process = b"".join(garbage(rng, BINARY) for _ in range(10_000)), psutil.Process()
    with serve(recorder) as edge, RawClient(edge.port, timeout_s=60).open("homing.v1.msgpack") as client:
        client.send(blob)
        assert client.receive() is not None
        gc.collect()
        before = process.memory_info().rss
        for n in range(2, 101):
            client.send(blob)
            received = client.receive()
            assert received is not None and received.payload == b"%d" % (n * 10_000)
        assert recorder.frames == 1_000_000
        assert process.memory_info().rss - before < 16 * 1024 * 1024


def test_broken_framing_ends_only_its_own_connection(recorder: Recorder) -> None:
    rng = random.Random(12)
    with serve(recorder) as edge, RawClient(edge.port).open() as witness:
        for n in range(300):
            with RawClient(edge.port).open() as client:
                data = bytearray(b"".join(garbage(rng, rng.choice((TEXT, CONT, PING, BINARY))) for _ in range(20)))
                for _ in range(rng.randrange(1, 20)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                try:
                    client.send(rng.randbytes(2000) if n % 3 == 0 else bytes(data))
                    client.sock.shutdown(socket.SHUT_WR)
                    codes = [f.code for f in client.receive_all() if f.op == CLOSE]
                except OSError:
                    codes = []
                assert set(codes) <= {1000, 1001, 1002, 1003, 1007, 1009} or codes[0] in range(1000, 5000)
        witness.send(frame(TEXT, b"hi"))
        answer = witness.receive()
        assert answer is not None and answer.payload == b"hi"
        wait_for(lambda: edge.call(edge.edge.connections) == 1)
        assert len(recorder.closed) == len({id_ for id_, _ in recorder.closed}) == 300


def test_random_bytes_before_the_handshake_are_answered_with_http_or_nothing(recorder: Recorder) -> None:
    rng = random.Random(13)
    with serve(recorder, EdgeLimits(handshake_timeout_s=0.5)) as edge:
        for _ in range(100):
            with RawClient(edge.port) as client:
                try:
                    client.send(
                        rng.choice((b"GET /v1/ws ", b"GET /v1/ws HTTP/1.1\r\n", b"POST / ", b"")) + rng.randbytes(300) + b"\r\n\r\n"
                    )
                    client.sock.shutdown(socket.SHUT_WR)
                    data = client.sock.recv(100)
                except OSError:
                    data = b""
                assert not data or data.startswith(b"HTTP/1.")
        with RawClient(edge.port).open():
            pass
        assert len(recorder.opened) == 1


# ---------------------------------------------------------------- TLS


def certificate(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(hours=1)
    built = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), begin, begin + timedelta(days=1))
    signed = built.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False).sign(key, SHA256())
    path = folder / "both.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + signed.public_bytes(Encoding.PEM))
    return path


def test_the_same_over_tls(recorder: Recorder, tmp_path: Path) -> None:
    path = certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(path)
    client_side = ssl.create_default_context(cafile=str(path))
    limits = EdgeLimits(handshake_timeout_s=0.5, buffered_bytes_max=256 * 1024)

    def answer(c: Connection, data: bytes) -> None:
        for _ in range(2000 if data == b"flood" else 1):
            c.send(data * (2000 if data == b"flood" else 1))

    recorder.do = answer
    with serving(lambda: PicowsEdge(recorder, web.Application(), limits), server_side) as edge:
        with RawClient(edge.port) as silent:
            assert silent.receive() is None  # a TLS handshake that never begins has its time too
        with RawClient(edge.port).secured(client_side).open() as client:
            for size in (0, 5, 9000, 65_536):
                client.send(frame(TEXT, b"x" * size))
                received = client.receive()
                assert received is not None and received.payload == b"x" * size
            client.send(frame(TEXT, b"\xff"))
            assert [last.code for last in client.receive_all()] == [1007]
        with RawClient(edge.port).secured(client_side).open() as deaf:
            deaf.send(frame(TEXT, b"flood"))
            wait_for(lambda: len(recorder.closed) == 2)
            assert [code for _, code in recorder.closed] == [1007, 1013]
