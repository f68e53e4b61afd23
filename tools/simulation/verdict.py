"""What must hold when all is healed and quiet: the final log against all that was said, every screen, marks and index rows."""

from __future__ import annotations

from collections import Counter

from homing import ids
from homing import protocol as p
from homing.state import Request

from node.core.views import entry_of
from storage.store import EntryRow, IndexRow, ReceiptsRow
from tools.simulation import blocks
from tools.simulation.checkers import Checkers, Violation
from tools.simulation.device import SimDevice
from tools.simulation.logs import Belonging, final_log
from tools.simulation.settings import LAW_MS


class Verdict:
    """Judges one history. ``unrest`` says what is not quiet yet; ``judge`` raises what is wrong."""

    def __init__(self, checkers: Checkers) -> None:
        self.checkers = checkers
        self.cluster = checkers.cluster
        store = self.cluster.store
        self.logs = {c: final_log(store, c, checkers.highest_wins) for c in store.conversations()}
        self.belonging = {c: Belonging(c, log, self.cluster.users) for c, log in self.logs.items()}

    # ------------------------------------------------------------ safety

    def judge_logs(self) -> None:
        """P1, P3, P4: what was said is what the log has."""
        for conversation, entries in self.logs.items():
            self._judge_log(conversation, entries)
        for (conversation, seq), entry in sorted(self.checkers.said.items()):
            log = self.logs.get(conversation, [])
            if seq > len(log):
                raise Violation("P1", f"{entry.message_id} was said and is not in the log, which ends at {len(log)}")
            if entry_of(log[seq - 1]) != entry:
                raise Violation("P1", f"{entry.message_id} was said, but the log has {entry_of(log[seq - 1]).message_id} there")
        for (user, id_), message_id in sorted(self.checkers.answers.items()):
            said = ids.parse_message_id(message_id)
            row = self.logs[said.conversation][said.seq - 1]
            if (row.sender, row.client_message_id) != (user, id_):
                raise Violation("P4", f"{id_} was answered with {message_id}, which is {row.client_message_id}")
        self._judge_readers()

    def _judge_log(self, conversation: str, entries: list[EntryRow]) -> None:
        created_at = ordinal = 0
        for i, row in enumerate(entries):
            ordinal += not row.type.startswith(p.HOME_TYPES)
            if row.seq != i + 1:
                raise Violation("P3", f"{conversation} has a gap below {row.seq}")
            if row.created_at < created_at:
                raise Violation("P3", f"created_at falls at {conversation}.{row.seq}")
            if row.ordinal != ordinal:
                raise Violation("P3", f"the ordinal at {conversation}.{row.seq} is {row.ordinal}, it should be {ordinal}")
            created_at = row.created_at
        counts = Counter((row.sender, row.client_message_id) for row in entries)
        for (_, id_), n in sorted(counts.items()):
            if n > 1:
                raise Violation("P4", f"{id_} is in {conversation} {n} times")
        if wrong := blocks.judge(entries):
            raise Violation("P8", wrong)

    def _judge_readers(self) -> None:
        """P8: nobody was shown what he may not see."""
        for device in self.cluster.devices:
            for conversation, seq in self.checkers.told[device.name].got:
                if not self.belonging[conversation].sees(device.user, seq):
                    raise Violation("P8", f"{device.name} got {conversation}.{seq}, which its user may not see")

    # ------------------------------------------------------------ liveness

    def unrest(self, closed: bool) -> Violation | None:
        """What has not come to rest; ``closed``: a last entry was said in every conversation, so that all screens are complete."""
        for device in self.cluster.devices:
            if device.core.session.state != "live":
                return Violation(
                    "P2", f"{device.name} does not come to life: it is {device.core.session.state} ({device.core.session.reason})"
                )
            if len(device.core.outbox):
                waiting = next(iter(device.core.outbox))
                return Violation("P4", f"{device.name} gets no answer to {waiting.id}")
            if asked := next(iter(device.core._questions._open), None):
                return Violation("P2", f"{device.name} gets no answer to its question {asked}")
        for device in self.cluster.devices:
            for conversation in self.logs:
                if missing := self._missing(device, conversation, closed):
                    return missing
        if text := self.cluster.revocations.unrest():
            return Violation("P8", text)
        if text := self.cluster.blocks.unrest(self.logs, closed):
            return Violation("P8", text)
        if text := self.cluster.presences.unrest():
            return Violation("presence", text)
        return self._marks_unrest() or self._index_unrest()

    def _missing(self, device: SimDevice, conversation: str, closed: bool) -> Violation | None:
        belonging, log = self.belonging[conversation], self.logs[conversation]
        latest = belonging.latest(device.user)
        if latest is None:
            return None
        state = device.core.conversations.get(conversation)
        base = max(state.base if state is not None else 0, latest.first, 1)
        screen = [e for e in self.checkers.told[device.name].screen if e.conversation == conversation]
        shown = {e.seq for e in screen}
        for row in log[base - 1 :]:
            due = closed or (conversation, row.seq) in self.checkers.acked
            if due and latest.first <= row.seq and (not latest.until or row.seq < latest.until) and row.seq not in shown:
                return Violation("P2", f"{device.name} does not show {conversation}.{row.seq}.{row.term}")
        for entry in screen:
            if entry != entry_of(log[entry.seq - 1]):
                return Violation("P3", f"{device.name} shows {entry.message_id}, the log has something else there")
        return None

    def _marks_unrest(self) -> Violation | None:
        for conversation, belonging in self.belonging.items():
            marks = self._stored_marks(conversation)
            for device in self.cluster.devices:
                state = device.core.conversations.get(conversation)
                latest = belonging.latest(device.user)
                if state is None or latest is None:
                    continue
                most = latest.until - 1 if latest.until else len(self.logs[conversation])
                delivered, read = marks.get(device.user, (0, 0))
                if delivered < min(state.acked, most) or read < min(state.read, most):
                    reported = f"delivered {state.acked}, read {state.read}"
                    return Violation("P5", f"{device.name} reported {reported} in {conversation}, stored are {delivered}, {read}")
            if found := self._ticks_unrest(conversation, marks):
                return found
        return None

    def _stored_marks(self, conversation: str) -> dict[str, tuple[int, int]]:
        row = self.cluster.store.merged(("receipts", conversation)).get(("receipts", conversation))
        return {user: (d, r) for user, d, r, _ in row.marks} if isinstance(row, ReceiptsRow) else {}

    def _ticks_unrest(self, conversation: str, marks: dict[str, tuple[int, int]]) -> Violation | None:
        """Senders see how far the others have got with what they sent."""
        log, belonging = self.logs[conversation], self.belonging[conversation]
        for device in self.cluster.devices:
            interval = belonging.latest(device.user)
            if interval is None or interval.until or device.core.conversations.get(conversation) is None:
                continue
            known = device.core.marks.others.get(conversation, {})
            own = [row.seq for row in log if row.sender == device.user and row.seq >= interval.first]
            for user, (delivered, read) in marks.items():
                if user == device.user or not belonging.is_member(user):
                    continue
                seen = known.get(user, (0, 0))
                for seq in own:
                    if (delivered >= seq > seen[0]) or (read >= seq > seen[1]):
                        text = f"{device.name} thinks that {user} got to {seen} in {conversation}, stored are {(delivered, read)}"
                        return Violation("P5", text)
        return None

    def _index_unrest(self) -> Violation | None:
        """P1: every member's row of the sync index leads to what was said."""
        for conversation, log in self.logs.items():
            belonging = self.belonging[conversation]
            acked = [row for row in log if (conversation, row.seq) in self.checkers.acked]
            for user in belonging.users():
                seen = [row for row in acked if belonging.sees(user, row.seq)]
                if not seen:
                    continue
                row = self.cluster.store.merged(("sync_index", user)).get(("sync_index", user, conversation))
                if not isinstance(row, IndexRow):
                    return Violation("P1", f"{user} has no index row of {conversation}, though {seen[-1].seq} was said")
                if not row.always and row.active_at < seen[-1].created_at - LAW_MS - 500:
                    return Violation("P1", f"the index row of {user} for {conversation} is older than the law allows")
        return None


def closing_requests(verdict: Verdict, number: int) -> list[tuple[SimDevice, Request]]:
    """One last message for every conversation, from a device of somebody who may write; where somebody has blocked he unblocks."""
    found: list[tuple[SimDevice, Request]] = []
    for conversation, entries in verdict.logs.items():
        for user in sorted(blocks.blockers(entries)):
            blocker = next(d for d in verdict.cluster.devices if d.user == user)
            found.append((blocker, blocks.unblock(verdict.belonging[conversation].users(), user, f"unblock-{number}-{conversation[:8]}")))
        if blocks.blockers(entries):
            continue
        belonging = verdict.belonging[conversation]
        device = next((d for d in verdict.cluster.devices if belonging.is_member(d.user)), None)
        if device is None:
            continue
        to = conversation
        if ids.kind_of(conversation) == ids.DIRECT:
            to = next(user for user in belonging.users() if user != device.user)
        found.append((device, p.Send(id=f"closing-{number}-{conversation[:8]}", to=to, body="the end")))
    return found
