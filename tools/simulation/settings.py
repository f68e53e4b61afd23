"""The scale of simulated time: a minute of the design is a second here, while messages travel as fast as they really do.

So a history of 40 seconds covers the better part of an hour: index rows age, deliveries grow old, mailboxes are let go.
"""

from __future__ import annotations

from homing.limits import Limits
from msgspec.structs import replace

from directory.config import DirectoryConfig
from node.core.limits import CoreLimits
from router.limits import MeshLimits
from storage.config import ClientConfig, WorkerConfig

LEASE_S = 2.0
RENEW_S = 0.6
HEARTBEAT_S = 2.5
LAW_MS, SLACK_MS, DELIVER_AGE_MS = 10_000, 15_000, 2_000
RESTART_S = 0.3
"""How long a process that ended is away, unless the nemesis says otherwise."""
EPOCH_MS = 1_700_000_000_000
"""What wall clocks show when a history begins."""

CORE = CoreLimits(
    index_law_ms=LAW_MS,
    index_slack_ms=SLACK_MS,
    deliver_age_ms_max=DELIVER_AGE_MS,
    index_touch_ms=500,
    marks_store_s=1.0,
    marks_quiet_s=0.4,
    receipts_gather_s=0.02,
    request_timeout_s=2.0,
    conversation_idle_s=4.0,
    mailbox_idle_s=5.0,
    move_s=3.0,
    drain_s=2.0,
    presence_gather_s=0.05,
    presence_silence_s=3.0,
    linger_s=1.0,
    last_seen_store_s=5.0,
    last_seen_first_s=1.0,
    last_seen_pace_s=4.0,
    privacy_age_s=6.0,
)
TIGHT = replace(
    CORE,
    unsaid_entries_max=4,
    unsettled_entries_max=8,
    recent_entries=6,
    ids_max=8,
    dedup_scan_entries_max=40,
    dedup_default_entries=8,
    loading_requests_max=8,
    roster_inline_max=1,
    index_rows_members_max=2,
    requests_per_session_max=4,
    heads_page=1,
    sync_heads_max=1,
    mailbox_index_rows_max=1,
    held_deliveries_max=4,
    unstored_marks_max=6,
)
"""Bounds that four people reach: large groups, long logs, full queues."""
MESH = MeshLimits(keepalive_s=0.6, resend_s=0.2, resend_max_s=0.8, ack_delay_s=0.005, pace_s=0.003, hello_max_s=0.5, table_ask_s=0.1)
STORAGE_CLIENT = ClientConfig(answer_timeout_s=1.0, retry_max_ms=300)
WORKER = WorkerConfig()
CLIENT = Limits(
    answer_wait_s=2.5,
    retry_s=0.2,
    retry_max_s=1.0,
    gap_wait_s=0.1,
    backoff_min_s=0.05,
    backoff_max_s=1.0,
    stable_s=2.0,
    welcome_wait_s=2.0,
)


def directory_config(names: list[str], nodes: int) -> DirectoryConfig:
    return DirectoryConfig(
        lease_s=LEASE_S,
        renew_s=RENEW_S,
        cell_look_s=0.5,
        directories=[f"{name}=tcp://{name}" for name in names],
        leader_lease_s=2.5,
        beat_s=5.0,
        expected_nodes=nodes,
        settle_s=0.5,
        move_slots_max=1024,
        move_s=2.0,
        move_retry_s=1.0,
        move_pause_s=0.05,
        retry_s=0.2,
        forget_s=4.0,
    )
