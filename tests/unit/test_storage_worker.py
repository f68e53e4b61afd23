"""The worker's queues, rounds and pace."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.config import WorkerConfig
from storage.frames import Answered, Ask, StorageBusy, WriteRow, Written
from storage.memory import MemoryStore
from storage.store import CellLoaded, CellRow, EntryRow, LoadCell, Outcome, Write
from storage.worker import Round, WorkerCore

A, B = "node-1:a", "node-2:b"
STORED, UNKNOWN, FENCED = Outcome.STORED, Outcome.UNKNOWN, Outcome.FENCED


def entry(seq: int) -> EntryRow:
    return EntryRow("c", seq, 1, "u", f"m{seq}", "text", "hi", seq, seq)


def core(**limits: int) -> WorkerCore:
    return WorkerCore(WorkerConfig(**limits))


def take(worker: WorkerCore, now: float) -> Round:
    round_ = worker.take_round(now)
    assert round_ is not None
    return round_


def test_a_lone_row_is_written_at_once() -> None:
    worker = core()
    assert worker.on_write(A, WriteRow(7, entry(1)), 50) == []
    assert worker.next_deadline() is not None
    round_ = take(worker, 10.0)
    assert round_.writes == [Write(A, entry(1))]
    assert worker.on_outcomes(round_, [STORED]) == [(A, Written([(7, STORED)]))]
    assert worker.next_deadline() is None


def test_the_next_commit_begins_2_ms_after_the_last_began() -> None:
    worker = core()
    worker.on_write(A, WriteRow(1, entry(1)), 50)
    worker.on_outcomes(take(worker, 10.0), [STORED])
    worker.on_write(A, WriteRow(2, entry(2)), 50)
    assert worker.take_round(10.0019) is None
    assert worker.next_deadline() == 10.002
    assert take(worker, 10.002).numbers == [2]


def test_no_round_begins_while_one_is_under_way() -> None:
    worker = core()
    worker.on_write(A, WriteRow(1, entry(1)), 50)
    first = take(worker, 10.0)
    worker.on_write(A, WriteRow(2, entry(2)), 50)
    assert worker.take_round(11.0) is None
    assert worker.next_deadline() is None
    worker.on_outcomes(first, [STORED])
    assert worker.next_deadline() == 10.002
    assert take(worker, 11.0).numbers == [2]


def test_each_writer_gets_one_frame_a_round_with_its_own_numbers() -> None:
    worker = core()
    for writer, n in ((A, 1), (B, 1), (A, 2), (B, 9)):
        worker.on_write(writer, WriteRow(n, entry(n)), 50)
    replies = worker.on_outcomes(take(worker, 0.0), [STORED, FENCED, UNKNOWN, STORED])
    assert replies == [(A, Written([(1, STORED), (2, UNKNOWN)])), (B, Written([(1, FENCED), (9, STORED)]))]


def test_the_writer_is_whose_link_the_frame_came_on() -> None:
    worker, store = core(), MemoryStore()
    store.commit([Write("", CellRow(1, (A,)))])
    worker.on_write(A, WriteRow(1, entry(1)), 50)
    worker.on_write(B, WriteRow(1, entry(2)), 50)
    round_ = take(worker, 0.0)
    assert store.commit(round_.writes) == [STORED, FENCED]


def test_past_the_bound_of_rows_or_bytes_a_write_is_refused_and_room_takes_it_again() -> None:
    worker = core(queue_rows_max=2, queue_bytes_max=100)
    assert worker.on_write(A, WriteRow(1, entry(1)), 40) == []
    assert worker.on_write(B, WriteRow(1, entry(2)), 61) == [(B, StorageBusy(1, 50))]
    assert worker.on_write(B, WriteRow(2, entry(2)), 60) == []
    assert worker.on_write(A, WriteRow(2, entry(3)), 1) == [(A, StorageBusy(2, 50))]
    worker.check()
    take(worker, 0.0)
    assert worker.on_write(A, WriteRow(2, entry(3)), 100) == []
    assert worker.refused == 2


def test_a_round_is_cut_at_its_bounds_and_keeps_the_order() -> None:
    worker = core(round_rows_max=3, round_bytes_max=100)
    sizes = [10, 10, 10, 10, 95, 200, 1]
    for n, size in enumerate(sizes):
        worker.on_write(A, WriteRow(n, entry(n)), size)
    rounds = []
    for now in range(4):
        round_ = take(worker, float(now))
        rounds.append(round_.numbers)
        worker.on_outcomes(round_, [STORED] * len(round_.writes))
    assert rounds == [[0, 1, 2], [3], [4], [5]]


def test_asks_are_answered_by_number_and_bounded_until_they_are() -> None:
    worker = core(asks_max=2)
    assert worker.on_ask(A, Ask(1, LoadCell())) == [] == worker.on_ask(B, Ask(1, LoadCell()))
    (first,) = worker.take_asks(1)
    assert worker.on_ask(A, Ask(2, LoadCell())) == [(A, StorageBusy(2, 50))]
    assert first.reply(CellLoaded(None)) == (A, Answered(1, CellLoaded(None)))
    worker.on_answered(1)
    assert worker.on_ask(A, Ask(2, LoadCell())) == []
    assert [asked.asker for asked in worker.take_asks(9)] == [B, A]


def test_what_a_gone_peer_asked_is_dropped_and_what_it_wrote_is_kept() -> None:
    worker = core()
    worker.on_ask(A, Ask(1, LoadCell()))
    worker.on_ask(B, Ask(1, LoadCell()))
    worker.on_write(A, WriteRow(2, entry(1)), 50)
    worker.on_peer_gone(A)
    assert [asked.asker for asked in worker.take_asks(9)] == [B]
    assert take(worker, 0.0).writes == [Write(A, entry(1))]


frames = st.one_of(st.tuples(st.sampled_from([A, B]), st.integers(1, 200)), st.floats(0.0001, 0.01))


@given(steps=st.lists(frames, max_size=60))
def test_every_write_ends_exactly_once_whatever_the_pace(steps: list[tuple[str, int] | float]) -> None:
    worker, now = core(queue_rows_max=8, queue_bytes_max=800, round_rows_max=4, round_bytes_max=300), 0.0
    begun: list[float] = []
    asked: list[tuple[str, int]] = []
    ended: list[tuple[str, int]] = []

    def run() -> None:
        if (round_ := worker.take_round(now)) is not None:
            begun.append(now)
            for peer, frame in worker.on_outcomes(round_, [STORED] * len(round_.writes)):
                assert isinstance(frame, Written)
                ended.extend((peer, n) for n, _ in frame.outcomes)

    for n, step in enumerate(steps):
        if isinstance(step, float):
            now += step
        else:
            asked.append((step[0], n))
            refused = worker.on_write(step[0], WriteRow(n, entry(n)), step[1])
            ended += [(peer, frame.n) for peer, frame in refused if isinstance(frame, StorageBusy)]
        worker.check()
        run()
    while (due := worker.next_deadline()) is not None:
        now = max(now, due)
        run()
    assert sorted(ended) == sorted(asked)
    assert all(later - earlier >= 0.002 - 1e-9 for earlier, later in pairwise(begun))
