"""What a storage client does with lost, late and unwelcome answers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.client import Outgoing, StorageClient, StorageFull
from storage.config import ClientConfig, WorkerConfig
from storage.frames import Answered, AnswerPart, Ask, StorageBusy, StorageFrame, WriteRow, Written
from storage.memory import MemoryStore
from storage.store import ANSWER_BYTES_MAX, Answer, CellLoaded, CellRow, EntryRow, LoadCell, Outcome, ReadFailed, Write
from storage.worker import WorkerCore

W1, W2, ME = "storage-1:a", "storage-2:b", "node-1:x"
STORED, UNKNOWN, FENCED = Outcome.STORED, Outcome.UNKNOWN, Outcome.FENCED


def entry(seq: int) -> EntryRow:
    return EntryRow("c", seq, 1, "u", f"m{seq}", "text", "hi", seq, seq)


@pytest.fixture
def client() -> StorageClient:
    client = StorageClient()
    client.on_members([W1], 0.0)
    return client


def numbers(out: Outgoing) -> list[int]:
    return [frame.n for _, frame in out]


def test_a_write_goes_out_once_and_ends_with_its_outcome(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    assert client.outgoing(0.0) == [(W1, WriteRow(n, entry(1)))]
    assert client.outgoing(0.1) == []
    assert client.on_frame(W1, Written([(n, STORED)]), 0.1) == [(n, STORED)]
    assert client.on_frame(W1, Written([(n, STORED)]), 0.2) == []
    assert (len(client), client.bytes, client.next_deadline()) == (0, 0, None)


def test_a_fenced_write_ends(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    assert client.on_frame(W1, Written([(n, FENCED)]), 0.0) == [(n, FENCED)]
    assert len(client) == 0


def test_unknown_is_told_once_and_the_same_row_is_written_again_until_it_is_known(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    first = client.outgoing(0.0)
    assert client.on_frame(W1, Written([(n, UNKNOWN)]), 0.0) == [(n, UNKNOWN)]
    now, waits = 0.0, list[float]()
    while len(waits) < 8:
        due = client.next_deadline()
        assert due is not None and client.outgoing(due - 0.001) == []
        if not (again := client.outgoing(due)):
            continue  # the sweep's deadline; nothing was without an answer
        assert again == first
        waits.append(round(due - now, 3))
        now = due
        assert client.on_frame(W1, Written([(n, UNKNOWN)]), now) == []
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]
    assert client.on_frame(W1, Written([(n, STORED)]), now) == [(n, STORED)]


def test_an_ask_ends_with_its_answer_and_a_failed_read_is_asked_again(client: StorageClient) -> None:
    n = client.ask(LoadCell(), 0.0)
    assert client.outgoing(0.0) == [(W1, Ask(n, LoadCell()))]
    assert client.on_frame(W1, Answered(n, ReadFailed("disk")), 0.0) == []
    assert client.outgoing(0.05) == [(W1, Ask(n, LoadCell()))]
    assert client.on_frame(W1, Answered(n, CellLoaded(None)), 0.06) == [(n, CellLoaded(None))]


def test_a_forgotten_ask_is_not_asked_again_but_a_write_is_never_forgotten(client: StorageClient) -> None:
    ask, write = client.ask(LoadCell(), 0.0), client.write(entry(1), 0.0)
    client.outgoing(0.0)
    client.forget(ask)
    client.forget(write)
    assert client.on_frame(W1, Answered(ask, CellLoaded(None)), 0.1) == []
    client.outgoing(4.0)
    assert numbers(client.outgoing(8.0)) == [write]


def test_busy_is_asked_again_after_the_time_that_the_worker_gives(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    client.outgoing(0.0)
    assert client.on_frame(W1, StorageBusy(n, 200), 1.0) == []
    assert client.next_deadline() == 1.2
    assert client.outgoing(1.19) == []
    assert numbers(client.outgoing(1.2)) == [n]


def test_without_an_answer_a_request_is_asked_again_within_twice_the_time_out(client: StorageClient) -> None:
    n = client.write(entry(1), 1.0)
    client.outgoing(1.0)
    now, again = 1.0, Outgoing()
    while not again:
        due = client.next_deadline()
        assert due is not None and due > now
        now, again = due, client.outgoing(due)
    assert numbers(again) == [n] and 5.0 <= now <= 9.0
    assert client.next_deadline() is not None


def test_what_a_gone_worker_was_asked_is_asked_of_another_at_once(client: StorageClient) -> None:
    ns = [client.write(entry(seq), 0.0) for seq in range(4)]
    client.outgoing(0.0)
    client.on_frame(W1, Written([(ns[0], STORED)]), 0.0)
    client.on_members([W2], 0.1)
    assert client.outgoing(0.1) == [(W2, WriteRow(n, entry(seq))) for seq, n in enumerate(ns) if seq]


def test_without_any_worker_requests_wait_for_one(client: StorageClient) -> None:
    client.on_members([], 0.0)
    n = client.write(entry(1), 0.0)
    assert client.outgoing(100.0) == [] and client.next_deadline() is None
    client.on_members([W2], 100.0)
    assert client.outgoing(100.0) == [(W2, WriteRow(n, entry(1)))]


def test_an_answer_of_a_process_that_is_no_worker_is_dropped(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    client.on_members([W2], 0.0)
    assert client.on_frame(W1, Written([(n, STORED)]), 0.0) == []
    assert client.on_frame(W2, Written([(n, STORED)]), 0.0) == [(n, STORED)]


def test_answers_to_numbers_never_given_or_of_the_wrong_kind_are_dropped(client: StorageClient) -> None:
    write, ask = client.write(entry(1), 0.0), client.ask(LoadCell(), 0.0)
    junk: list[StorageFrame] = [
        Written([(99, STORED), (ask, STORED)]),
        Answered(write, CellLoaded(None)),
        StorageBusy(99, 1),
        Ask(1, LoadCell()),
    ]
    for frame in junk:
        assert client.on_frame(W1, frame, 0.0) == []
    assert len(client) == 2
    client.check()


def test_requests_are_spread_over_the_workers(client: StorageClient) -> None:
    client.on_members([W1, W2], 0.0)
    for seq in range(10):
        client.write(entry(seq), 0.0)
    workers = [worker for worker, _ in client.outgoing(0.0)]
    assert workers.count(W1) == workers.count(W2) == 5


def test_after_unknown_another_worker_is_tried(client: StorageClient) -> None:
    client.on_members([W1, W2], 0.0)
    n = client.write(entry(1), 0.0)
    ((first, _),) = client.outgoing(0.0)
    client.on_frame(first, Written([(n, UNKNOWN)]), 0.0)
    ((second, _),) = client.outgoing(1.0)
    assert second != first


def test_what_a_link_does_not_take_is_held_in_order_until_its_window_opens(client: StorageClient) -> None:
    ns = [client.write(entry(seq), 0.0) for seq in range(3)]
    out = client.outgoing(0.0)
    client.put_back(out[1:])
    ns.append(client.write(entry(3), 0.0))
    assert client.outgoing(0.0) == []
    client.on_window_open(W1)
    assert numbers(client.outgoing(0.0)) == ns[1:]
    assert client.outgoing(0.0) == []


def test_a_window_that_nobody_says_is_open_is_tried_again(client: StorageClient) -> None:
    n = client.write(entry(1), 0.0)
    client.put_back(client.outgoing(0.0))
    assert numbers(client.outgoing(4.0)) == [n]


def test_past_its_bound_a_client_has_no_room_and_past_twice_of_it_raises() -> None:
    client = StorageClient(ClientConfig(pending_max=2))
    client.on_members([W1], 0.0)
    had_room = client.has_room
    ns = [client.write(entry(seq), 0.0) for seq in range(4)]
    assert had_room and not client.has_room
    with pytest.raises(StorageFull):
        client.write(entry(5), 0.0)
    client.on_frame(W1, Written([(n, STORED) for n in ns[2:]]), 0.0)
    assert len(client) == 2 and not client.has_room
    client.on_frame(W1, Written([(ns[0], STORED)]), 0.0)
    room_again = client.has_room
    assert room_again


def test_bytes_take_room_too() -> None:
    client = StorageClient(ClientConfig(pending_bytes_max=1_000))
    client.write(EntryRow("c", 1, 1, "u", "m", "text", "x" * 1_000, 1, 1), 0.0)
    assert not client.has_room


# ---------------------------------------------------------------- client and worker together


@settings(max_examples=60)
@given(st.data())
def test_through_lost_frames_busy_workers_failing_stores_and_restarts_every_write_is_stored_in_the_end(data: st.DataObject) -> None:
    client, store, now, starts = StorageClient(), MemoryStore(), 0.0, 0
    store.commit([Write("", CellRow(1, (ME,)))])
    config = WorkerConfig(queue_rows_max=4, round_rows_max=3)
    worker, name = WorkerCore(config), "storage-1:0"
    client.on_members([name], now)
    ended: dict[int, object] = {}
    wanted = [client.write(entry(seq), now) for seq in range(6)] + [client.ask(LoadCell(), now)]

    def step(fate: str) -> None:
        nonlocal worker, name, starts
        if fate == "restart":
            starts += 1
            worker, name = WorkerCore(config), f"storage-1:{starts}"
            client.on_members([name], now)
        replies = []
        for _, frame in client.outgoing(now):
            if fate != "lose":
                replies += worker.on_write(ME, frame, 50) if isinstance(frame, WriteRow) else worker.on_ask(ME, frame)
        if (round_ := worker.take_round(now)) is not None:
            outcomes = store.commit(round_.writes)
            replies += worker.on_outcomes(round_, [UNKNOWN] * len(outcomes) if fate == "fail" else outcomes)
        asks = worker.take_asks(9)
        replies += [asked.reply(ReadFailed("") if fate == "fail" else store.read(asked.query)) for asked in asks]
        worker.on_answered(len(asks))
        for _, reply in replies:
            if fate != "lose":
                for n, result in client.on_frame(name, reply, now):
                    assert n not in ended
                    if result is not UNKNOWN:
                        ended[n] = result
        client.check()
        worker.check()

    for fate in data.draw(st.lists(st.sampled_from(["lose", "fail", "restart", "fine"]), max_size=25)):
        step(fate)
        now += 0.5
    for _ in range(60):
        step("fine")
        now += 0.5
    assert sorted(ended) == wanted
    assert all(result in (STORED, CellLoaded(CellRow(1, (ME,)))) for result in ended.values())
    assert (len(client), client.next_deadline()) == (0, None)


def parts_of(n: int, answer: Answer, count: int) -> list[AnswerPart]:
    data = msgspec.msgpack.encode(answer)
    size = -(-len(data) // count)
    return [AnswerPart(n, i, i == count - 1, data[i * size : (i + 1) * size]) for i in range(count)]


LARGE = CellLoaded(CellRow(7, tuple(f"node-{i}:x" for i in range(100))))


def test_an_answer_in_parts_ends_the_ask_with_its_last_one(client: StorageClient) -> None:
    n, other = client.ask(LoadCell(), 0.0), client.ask(LoadCell(), 0.0)
    first, second, third = parts_of(n, LARGE, 3)
    assert client.on_frame(W1, first, 0.1) == client.on_frame(W1, second, 0.1) == []
    assert client.on_frame(W1, Answered(other, LARGE), 0.1) == [(other, LARGE)]
    assert client.on_frame(W1, third, 0.1) == [(n, LARGE)]
    assert client.on_frame(W1, third, 0.1) == [] and not client._parts and len(client) == 0


@pytest.mark.parametrize("order", [(1, 2), (0, 2), (0, 1, 1, 2), (2,)])
def test_where_a_part_is_missing_the_answer_is_asked_for_again(client: StorageClient, order: tuple[int, ...]) -> None:
    n = client.ask(LoadCell(), 0.0)
    client.outgoing(0.0)
    parts = parts_of(n, LARGE, 3)
    assert [client.on_frame(W1, parts[i], 0.1) for i in order] == [[]] * len(order) and not client._parts
    now = 0.0
    while not (again := client.outgoing(now)):
        now = max(now, client.next_deadline() or 0.0)
    assert again == [(W1, Ask(n, LoadCell()))]
    assert [client.on_frame(W1, part, now) for part in parts] == [[], [], [(n, LARGE)]]


def test_parts_of_two_workers_are_not_put_together(client: StorageClient) -> None:
    client.on_members([W1, W2], 0.0)
    n = client.ask(LoadCell(), 0.0)
    parts = parts_of(n, LARGE, 2)
    assert client.on_frame(W1, parts[0], 0.1) == client.on_frame(W2, parts[1], 0.1) == []
    assert [client.on_frame(W2, part, 0.1) for part in parts] == [[], [(n, LARGE)]]


def test_parts_without_an_end_or_that_cannot_be_read_do_no_harm(client: StorageClient) -> None:
    n = client.ask(LoadCell(), 0.0)
    size = ANSWER_BYTES_MAX // 4
    for i in range(6):
        assert client.on_frame(W1, AnswerPart(n, i, False, bytes(size)), 0.1) == []
    assert not client._parts
    assert client.on_frame(W1, AnswerPart(n, 0, True, b"\xc1"), 0.1) == [] and len(client) == 1
    assert client.on_frame(W1, AnswerPart(n + 1, 0, False, b"x"), 0.1) == [] and not client._parts
