"""The bounds of a node's actors: configuration section ``node.limits``; every one with its unit and its reason."""

from __future__ import annotations

from msgspec import Struct


class CoreLimits(Struct, frozen=True, forbid_unknown_fields=True):
    unsaid_entries_max: int = 32
    """Entries of a conversation that are not said yet; more would outrun the rows an activation reads (64) (§3, §5)."""
    unsettled_entries_max: int = 256
    """Said entries of a conversation that some member's home has not in hand; past it sends are refused as overloaded."""
    recent_entries: int = 64
    """Entries of an active conversation kept in memory for repeats, heads and pages: what an activation reads."""
    ids_max: int = 2_048
    """Client message ids of a conversation kept for dedup; older ones are looked up in the log."""
    dedup_scan_entries_max: int = 8_192
    """How far back a repeat is looked for; further is ``resync`` (§3)."""
    dedup_default_entries: int = 1_024
    """How far back a request without ``after`` is looked for (§3)."""
    loading_requests_max: int = 256
    """Requests that wait for an activation; more are refused as overloaded."""
    roster_inline_max: int = 16
    """Members of a conversation up to which a deliver frame names them; above, nodes keep their part of the roster."""
    index_rows_members_max: int = 64
    """Groups above this have ``always`` rows in the sync index instead of times (§4)."""
    index_law_ms: int = 600_000
    """A member's index row says at least the time of saying minus this (§4)."""
    index_slack_ms: int = 900_000
    """How far below its cursor a device looks in the index (§4): the law's 10 minutes and 5 for clocks and frames under way."""
    index_touch_ms: int = 30_000
    """How exactly a mailbox's copy of the index is kept; far below the slack."""
    deliver_age_ms_max: int = 120_000
    """A deliver frame older than this is refused (§3)."""
    marks_store_s: float = 60.0
    """Marks of a busy conversation are stored once in this time (§3)."""
    marks_quiet_s: float = 15.0
    """Marks of a conversation that went quiet are stored after this."""
    receipts_gather_s: float = 0.05
    """Marks of a group are gathered this long on each of their two ways: from a node to the group's home, and from there to the senders.
    A message to a hundred members makes a hundred acknowledgements within some milliseconds."""
    request_timeout_s: float = 10.0
    """A client's request without an answer is answered ``unavailable`` (retry with the same id)."""
    ask_again_s: float = 0.1
    """A request that met a frozen or foreign slot is asked again after this, or when the table changes."""
    requests_per_session_max: int = 128
    """A session's requests that wait for an answer; more are refused as overloaded."""
    fetches_per_session_max: int = 16
    """A session's pages that are under way: more would fill the link to its edge for everybody else there."""
    heads_page: int = 25
    """Heads in one streamed page."""
    sync_heads_max: int = 100
    """Conversations that are listed after hello to a device that knows nothing; more on demand."""
    mailbox_index_rows_max: int = 512
    """Index rows of a user kept in memory; users with more are read from storage at every hello."""
    unstored_marks_max: int = 1_024
    """Conversations of a user whose marks are not stored yet; past it acks are not taken (the device repeats them)."""
    conversation_idle_s: float = 120.0
    """A conversation actor at rest this long is let go."""
    mailbox_idle_s: float = 300.0
    """A mailbox without sessions this long is let go; until then a flapping connection resumes from memory."""
    conversations_max: int = 200_000
    """Active conversations of a node; past it the longest idle are let go, or requests refused as overloaded."""
    sessions_per_user_max: int = 16
    """Devices of a user that are connected at the same time."""
    watch_pace_s: float = 1.0
    """A session's next set of people whom it watches is taken no sooner; a list that is scrolled through changes it all the time."""
    watchers_per_user_max: int = 4_096
    """Watchers of one user; more are told ``unknown``. His coming is one frame for each of them at worst."""
    watch_pairs_max: int = 400_000
    """Pairs of watcher and watched that a node keeps as home of the one, and as many as home of the other: some 150 MB in all at worst."""
    presence_gather_s: float = 0.2
    """What changes within this goes as one frame to each home."""
    presence_silence_s: float = 30.0
    """How long a slot's new home says of nobody that he is offline: his sessions have lost their home, and are on their way back."""
    linger_s: float = 5.0
    """Somebody whose last session ended is here so much longer: a reconnect does not blink. With ``edge.idle_s`` it makes 30 s."""
    last_seen_store_s: float = 300.0
    """The row of somebody who is here is written so often: as far may his last_seen be behind after a crash of his home."""
    last_seen_first_s: float = 60.0
    """Within this of his coming somebody's row is written, if it is not recent; spread, storms of reconnects must not write in step."""
    last_seen_pace_s: float = 60.0
    """It is written no more often, however he comes and goes: so exact is last_seen."""
    privacy_age_s: float = 600.0
    """What somebody shows is read again after this, should the announcement of a change have been lost with the node that served it."""
    typing_pace_s: float = 1.0
    """A session says the same of a conversation once in this time; clients repeat it every 3 s."""
    typing_session_per_s: float = 2.0
    """How often a session may say anything of the kind in the long run, over all its conversations."""
    block_changes_burst: int = 10
    """Blocks and unblocks of a user in one conversation, at once; more are refused as rate-limited: each reaches the other's devices."""
    block_change_s: float = 6.0
    """One more after this."""
    typing_session_burst: float = 8.0
    """The same at once: it begins, stops and begins elsewhere."""
    typing_members_per_s: float = 256.0
    """Members of one conversation who are told of somebody typing, in the long run: some 5 % of a core if all of them are connected."""
    typing_members_burst: float = 256.0
    """The same at once; in a larger conversation nobody is told."""
    typing_conversations_max: int = 10_000
    """Conversations of a node for which that is counted; the first is forgotten, which gives it a full burst."""
    parts_max: int = 10_000
    """Roster parts of large groups that a node keeps."""
    held_deliveries_max: int = 256
    """Entries of a conversation that wait for its roster part; beyond, the frame is refused and said again."""
    move_s: float = 10.0
    """A planned move whose end is not heard of for this long is taken back by the old owner itself."""
    drain_s: float = 5.0
    """How long a node that was told to stop waits for what is pending."""
