"""Too much at once, and readers that do not read: the excess is refused or the connection closed, others chat on, memory stays bounded."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from homing import codes, ids
from homing import protocol as p

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_client import RawClient
from tests.integration.raw_homing import MIB, Closed, Device, Frame, eventually, fresh, group_of, is_cut, metric, port_of, unharmed

LONG = "あ" * p.BODY_CHARS_MAX
"""48 KiB: the largest body there is."""

PHONE_BYTES = 64 * 1024
"""What the kernel takes in for a reader on a slow line."""


def answers(device: Device, ids_: Sequence[str]) -> dict[str, Frame]:
    """The answers to these requests, one each."""
    found: dict[str, Frame] = {}
    while len(found) < len(ids_):
        got = device.receive()
        if got.get("id") in ids_ and got["op"] in ("sent", "error", "heads", "entries"):
            assert got["id"] not in found, "a request is answered once"
            found[got["id"]] = got
    return found


# ---------------------------------------------------------------- rates


def test_a_flood_of_frames_is_refused_beyond_the_burst_and_the_session_goes_on(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster) as flood:
        refused: list[Frame] = []
        for _ in range(10):
            flood.put(*[{"op": "ping"}] * 300)
            got = [flood.receive() for _ in range(300)]
            refused += [f for f in got if f["op"] == "error"]
        assert 300 < len(refused) < 1_100, "2,000 at once and 200 a second are let through"
        assert {(f["code"], f["name"]) for f in refused} == {(codes.RATE_LIMITED.number, "rate_limited")}
        assert all(0 < f["retry_after_ms"] <= 1_000 for f in refused)
        time.sleep(refused[-1]["retry_after_ms"] / 1_000 + 0.05)
        flood.is_alive()


def test_a_mark_that_is_refused_says_of_which_conversation_it_was_for_it_must_be_repeated(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, 0) as a, Device(shared_cluster, 1) as b:
        conversation = a.say(b.user, "x")["conversation"]
        b.put(*[{"op": "ack", "conversation": conversation, "seq": 1}] * 3_000)
        refused = b.expect_error(codes.RATE_LIMITED)
        assert refused["conversation"] == conversation and "id" not in refused
        time.sleep(refused["retry_after_ms"] / 1_000 + 0.1)
        assert a.expect("receipts", conversation=conversation)["marks"] == [[b.user, 1, 0]]


def test_a_flood_of_messages_is_refused_with_a_time_after_which_they_are_taken(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster) as flood:
        names = [f"m{n}" for n in range(260)]
        peers = [ids.user_id(f"{flood.name}/{n}") for n in range(260)]
        outcome: Counter[str] = Counter()
        got: dict[str, Frame] = {}
        for at in range(0, 260, 20):  # not more in flight than a session may have
            flood.put(*({"op": "send", "id": n, "to": peer, "body": "x"} for n, peer in zip(names[at:][:20], peers[at:], strict=False)))
            got |= answers(flood, names[at : at + 20])
        outcome.update(str(f.get("name", f["op"])) for f in got.values())
        assert outcome["sent"] >= 200 and outcome["rate_limited"] > 0 and set(outcome) == {"sent", "rate_limited"}, outcome
        name = next(n for n in names if got[n]["op"] == "error")
        wait_ms = got[name]["retry_after_ms"]
        assert 0 < wait_ms <= 1_000
        time.sleep(wait_ms / 1_000 + 0.1)
        assert flood.say(peers[names.index(name)], "x", id=name)["seq"] == 1, "nothing of it was taken before"


def test_more_sockets_buy_no_more_than_the_users_share(shared_cluster: ClusterProcess) -> None:
    name = fresh("greedy")
    sent = 0
    with contextlib.ExitStack() as stack, unharmed(shared_cluster):
        for n in range(5):
            device = stack.enter_context(Device(shared_cluster, 0, name, f"d{n}"))
            for at in range(0, 160, 20):
                names = [f"{n}.{at + m}" for m in range(20)]
                device.put(*({"op": "send", "id": i, "to": ids.user_id(f"{name}/{i}"), "body": "x"} for i in names))
                sent += sum(f["op"] == "sent" for f in answers(device, names).values())
    assert 400 <= sent < 800, "400 at once and 100 a second"


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
def test_of_200_requests_in_flight_each_is_answered_once(shared_cluster: ClusterProcess, binary: bool) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, binary=binary) as busy:
        names = [f"q{n}" for n in range(200)]
        peers = {name: ids.user_id(f"{busy.name}/{name}") for name in names}
        busy.put(*({"op": "send", "id": name, "to": peers[name], "body": name} for name in names))
        got = answers(busy, names)
        late = [name for name in names if got[name]["op"] == "error"]
        assert 0 < len(late) < 100, "a session may have 128 requests without an answer"
        assert {(got[n]["code"], got[n]["name"], got[n]["retry_after_ms"] > 0) for n in late} == {(2001, "overloaded", True)}
        time.sleep(2.0)
        busy.put(*({"op": "send", "id": name, "to": peers[name], "body": name} for name in late))
        assert {f["op"] for f in answers(busy, late).values()} == {"sent"}


def test_many_at_once_into_one_conversation_are_refused_before_they_have_a_seq(shared_cluster: ClusterProcess) -> None:
    with unharmed(shared_cluster), Device(shared_cluster, 0) as a, Device(shared_cluster, 1) as b:
        names = [f"q{n}" for n in range(120)]
        a.put(*({"op": "send", "id": name, "to": b.user, "body": name} for name in names))
        got = answers(a, names)
        sent = sorted(f["entry"]["seq"] for f in got.values() if f["op"] == "sent")
        assert sent == list(range(1, len(sent) + 1)), "no gaps"
        assert {f["name"] for f in got.values() if f["op"] == "error"} <= {"overloaded"}
        heard = [b.expect("message")["entry"]["seq"] for _ in sent]
        assert heard == sent


# ---------------------------------------------------------------- who does not read


def gone(device: Device) -> bool:
    """Reads what was still sent to one who did not read, to the end."""
    device.raw.sock.settimeout(10)
    return is_cut(device.raw.sock)


def test_a_reader_that_never_reads_is_closed_and_catches_up_afterwards(shared_cluster: ClusterProcess) -> None:
    lazy_name = fresh("lazy")
    with Device(shared_cluster, 0) as writer, Device(shared_cluster, 1) as reader:
        group = group_of(writer, ids.user_id(lazy_name), reader.user)
        with unharmed(shared_cluster, grown_bytes_max=96 * MIB):
            with Device(shared_cluster, 0, lazy_name, receive_buffer_bytes=4_096) as lazy:
                count = 150
                for n in range(count):
                    writer.say(group, f"{n}:{LONG}"[: p.BODY_CHARS_MAX])
                    reader.expect("message")
                assert gone(lazy), "more than the edge's buffer waited for him"
            with Device(shared_cluster, 1, lazy_name) as lazy:
                found: dict[int, str] = {}
                while (below := min(found, default=count + 2)) > 1:
                    answer = lazy.ask("fetch", conversation=group, to_seq=below - 1)
                    found |= {e["seq"]: e["body"] for e in answer["entries"]}
                assert sorted(found) == list(range(1, count + 2))
                assert found[count + 1].startswith(f"{count - 1}:")


def test_who_asks_for_much_and_reads_nothing_is_closed(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0) as a, Device(shared_cluster, 1, receive_buffer_bytes=4_096) as greedy:
        for n in range(20):
            conversation = a.say(greedy.user, f"{n}:{LONG}"[: p.BODY_CHARS_MAX])["conversation"]
        for _ in range(20):
            greedy.expect("message")
        with unharmed(shared_cluster, grown_bytes_max=96 * MIB):
            before = metric(shared_cluster, "homing_node_sessions", "node-2")
            fetches = ({"op": "fetch", "id": f"f{n}", "conversation": conversation, "limit": 10} for n in itertools.count())

            def closed_after_more() -> bool:
                with contextlib.suppress(OSError):
                    greedy.put(*itertools.islice(fetches, 4))
                return metric(shared_cluster, "homing_node_sessions", "node-2") < before

            eventually(closed_after_more)
            assert gone(greedy)
        with Device(shared_cluster, 1, greedy.name) as again:
            again.is_alive()


@pytest.mark.parametrize("body", [LONG, "\0" * p.BODY_CHARS_MAX], ids=["48 KiB", "NULs, 96 KiB in JSON"])
def test_a_page_of_long_messages_does_not_end_its_readers_session(shared_cluster: ClusterProcess, body: str) -> None:
    with Device(shared_cluster, 0, binary=True) as a, Device(shared_cluster, 1, receive_buffer_bytes=PHONE_BYTES) as b:
        for _ in range(60):
            conversation = a.say(b.user, body)["conversation"]
            b.expect("message")
        found: list[int] = []
        to_seq = 60
        while to_seq:
            answer = b.ask("fetch", conversation=conversation, to_seq=to_seq, limit=100)
            seqs = [e["seq"] for e in answer["entries"]]
            assert seqs == list(range(seqs[0], to_seq + 1)), "the newest of the range"
            found, to_seq = seqs + found, seqs[0] - 1
        assert found == list(range(1, 61))


def test_long_messages_in_many_conversations_do_not_lock_their_receiver_out(cluster: ClusterProcess) -> None:
    victim = fresh("victim")
    pids = cluster.pids
    with contextlib.ExitStack() as stack:
        for _ in range(6):
            writer = stack.enter_context(Device(cluster, 0))
            group = group_of(writer, ids.user_id(victim))
            for _ in range(12):
                writer.say(group, LONG)
        for node in range(3):
            with Device(cluster, node, victim, f"d{node}", receive_buffer_bytes=PHONE_BYTES) as device:
                heads = {h["conversation"]: h["seq"] for f in device.received if f["op"] == "heads" for h in f["heads"]}
                assert list(heads.values()) == [13] * 6
                device.is_alive()
    assert cluster.pids == pids


# ---------------------------------------------------------------- connections


def test_connections_that_never_say_hello_are_closed(shared_cluster: ClusterProcess) -> None:
    """Sockets without a handshake are cut, WebSockets without a hello are told why."""
    with contextlib.ExitStack() as stack, unharmed(shared_cluster):
        sockets = [stack.enter_context(RawClient(port_of(shared_cluster, 0), 20)) for _ in range(300)]
        silent = [stack.enter_context(Device(shared_cluster, 0, hello=False)) for _ in range(300)]
        began = time.monotonic()
        for session in silent:
            session.expect_error(codes.HELLO_TIMEOUT)
            session.expect_close(codes.CLOSE_HELLO_TIMEOUT)
        assert all(is_cut(client.sock) for client in sockets)
        assert time.monotonic() - began < 15


def test_pings_do_not_stand_in_for_a_hello(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0, hello=False) as session:
        session.put({"op": "ping"})
        session.expect_error(codes.HELLO_FIRST)
        session.expect_close(codes.CLOSE_POLICY)


def test_sessions_that_come_and_go_by_the_hundreds_leave_nothing(shared_cluster: ClusterProcess) -> None:
    before = metric(shared_cluster, "homing_node_sessions")
    name = fresh("flapper")
    with unharmed(shared_cluster):
        for n in range(300):
            with Device(shared_cluster, 0, name, f"d{n % 3}", hello=False) as device:
                device.put({"op": "hello", "token": device.token()})
                if n % 2:
                    device.expect("welcome")
        eventually(lambda: metric(shared_cluster, "homing_node_sessions") <= before + 1)


def test_a_user_has_at_most_16_devices_and_a_device_one_connection(shared_cluster: ClusterProcess) -> None:
    name = fresh("many")
    with contextlib.ExitStack() as stack:
        devices = [stack.enter_context(Device(shared_cluster, n % 3, name, f"d{n}")) for n in range(16)]
        with Device(shared_cluster, 0, name, "d16", hello=False) as late:
            late.put({"op": "hello", "token": late.token()})
            late.expect_close(codes.CLOSE_TRY_LATER)
            assert [f["name"] for f in late.received if f["op"] == "error"] == ["overloaded"]
        with Device(shared_cluster, 1, name, "d3") as again:
            with pytest.raises(Closed) as end:
                while True:
                    devices[3].received.append(devices[3].receive())
            assert end.value.code == codes.CLOSE_POLICY
            assert devices[3].received[-1]["name"] == "session_replaced"
            again.is_alive()
        devices[0].is_alive()


def test_asking_for_conversations_that_one_makes_up_fills_no_memory(shared_cluster: ClusterProcess) -> None:
    """5,000 of them: their actors are gone with the next sweep, not two minutes later."""
    names = ("node-1", "node-2", "node-3")
    with unharmed(shared_cluster), contextlib.ExitStack() as stack:
        devices = [stack.enter_context(Device(shared_cluster, n % 3)) for n in range(10)]
        before = sum(metric(shared_cluster, "homing_node_conversations", name) for name in names)
        for n in range(34):
            for device in devices:
                wanted = [ids.group_id(os.urandom(16)) for _ in range(15)]
                device.put(*({"op": "fetch", "id": f"{n}.{m}", "conversation": id_} for m, id_ in enumerate(wanted)))
                got = answers(device, [f"{n}.{m}" for m in range(15)])
                assert {f["name"] for f in got.values()} == {"not_a_member"}
        held = sum(metric(shared_cluster, "homing_node_conversations", name) for name in names) - before
        eventually(lambda: sum(metric(shared_cluster, "homing_node_conversations", name) for name in names) < before + max(500, held / 10))


def test_pages_under_way_are_bounded_for_each_session(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0) as alice:
        _ask_for_many_pages(alice)


def _ask_for_many_pages(alice: Device) -> None:
    group = group_of(alice)
    alice.put(*({"op": "fetch", "id": f"p{n}", "conversation": group} for n in range(60)))
    got = answers(alice, [f"p{n}" for n in range(60)])
    assert {f["op"] for f in got.values()} <= {"entries", "error"}
    assert {f["name"] for f in got.values() if f["op"] == "error"} <= {codes.OVERLOADED.name}
    assert alice.ask("fetch", conversation=group)["op"] == "entries"
