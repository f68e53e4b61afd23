"""The client's bounds and times, each with its unit and its reason."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    outbox_requests_max: int = 10_000
    """Requests that wait to be answered; past it `send` refuses. A day offline of a busy person is some hundreds."""
    inflight_requests_max: int = 32
    """Requests under way at once, over all conversations: a server allows 32 unsaid entries."""
    inflight_per_conversation: int = 1
    """With more than one a request that the server puts off could be overtaken by the next: own messages would change places."""
    answer_wait_s: float = 10.0
    """After that an unanswered request is sent again under the same id."""
    retry_s: float = 1.0
    """Pause before a refused request is repeated when the server names none; doubles up to `retry_max_s`."""
    retry_max_s: float = 30.0

    fetches_max: int = 4
    """Ranges asked for at once: one page is up to 100 entries, so this bounds what the server must send us unasked for."""
    fetch_entries: int = 100
    """Entries in a page: the protocol's maximum."""
    gap_wait_s: float = 0.3
    """Frames of one conversation may overtake each other by a mesh delay; only after that a hole is worth a fetch."""
    held_entries_max: int = 256
    """Entries of one conversation kept above a hole; what comes above that is fetched later."""
    held_total_max: int = 4_096
    """The same over all conversations: bounds memory when many have holes."""
    catchup_entries_max: int = 10_000
    """A device further behind than that in one conversation skips to here, and is told (`Gap`)."""
    unknown_entries_max: int = 100
    """Entries that are shown of a conversation that appears while a device that was here before is away or connected."""
    search_entries_max: int = 100_000
    """How far a `resync` looks for its own entry before it gives the request up."""
    asks_max: int = 64
    """Questions of the program (history, members, names) under way: a server allows 128 requests of all kinds."""
    asks_reserved: int = 8
    """Of these, places that names do not take."""
    asks_waiting_max: int = 4_096
    """Questions that wait for a place; past it another is refused. The names of a few full groups."""
    people_max: int = 20_000
    """Names remembered, here and in the store."""
    person_again_s: float = 86_400.0
    """A name is asked for again after a day: people rename themselves rarely."""
    stranger_again_s: float = 60.0
    """After that somebody whose home had no name for him is asked for again, if he has said something since."""

    marks_burst: int = 512
    """Marks in one go: a device that was away for long has something in a thousand chats, and its own socket takes 1,024 frames."""
    marks_paced: int = 32
    """Marks in one go of those that remain, or after the server said that too much came; the others follow in steps of `marks_pace_s`."""
    marks_pace_s: float = 0.25
    """With `marks_paced` 128 a second: two thirds of what a server allows."""

    watch_pace_s: float = 1.0
    """The set of people who are watched is said no more often: somebody who runs through his list changes it with every key."""
    typing_again_s: float = 3.0
    """What the user is still doing is said again: others show it for six seconds."""
    typing_pace_s: float = 1.0
    """It is said no more often than this, however often he begins anew."""
    typing_idle_s: float = 5.0
    """Who touches no key for so long writes no more."""
    recording_max_s: float = 900.0
    """A recording that its program forgot to end."""
    typing_shown_s: float = 10.0
    """Nobody is shown as writing for longer without a word, whatever the server says."""
    typing_shown_max: int = 256
    """People shown as writing at once; past it others are not."""

    backoff_min_s: float = 0.5
    backoff_max_s: float = 60.0
    """Full jitter between these two, the upper one doubling from 1 s each time that all addresses have failed: lockstep reconnects are the
    enemy, but one dead node of three is no reason to wait."""
    named_wait_max_s: float = 600.0
    """A server may ask a client to stay away for so long, and no longer."""
    stable_s: float = 5.0
    """Only a connection that was live for so long resets the backoff."""
    welcome_wait_s: float = 10.0
    """A hello that is not answered by then is given up. Servers answer or refuse within 5 s."""
    replaced_attempts: int = 5
    """Backoff step after another connection of this device took over, so that two programs with one device do not fight."""


DEFAULTS = Limits()
