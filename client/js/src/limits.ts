/** The client's bounds and times, each with its unit: those of the Python library, where each has its reason (client/homing/limits.py). */

export interface Limits {
  outbox_requests_max: number;
  inflight_requests_max: number;
  inflight_per_conversation: number;
  answer_wait_s: number;
  retry_s: number;
  retry_max_s: number;
  fetches_max: number;
  fetch_entries: number;
  gap_wait_s: number;
  held_entries_max: number;
  held_total_max: number;
  catchup_entries_max: number;
  unknown_entries_max: number;
  search_entries_max: number;
  asks_max: number;
  asks_reserved: number;
  asks_waiting_max: number;
  marks_paced: number;
  marks_pace_s: number;
  backoff_min_s: number;
  backoff_max_s: number;
  named_wait_max_s: number;
  stable_s: number;
  welcome_wait_s: number;
  replaced_attempts: number;
  watch_pace_s: number;
  typing_again_s: number;
  typing_pace_s: number;
  typing_idle_s: number;
  recording_max_s: number;
  typing_shown_s: number;
  typing_shown_max: number;
}

export const DEFAULTS: Readonly<Limits> = {
  outbox_requests_max: 10_000,
  inflight_requests_max: 32,
  inflight_per_conversation: 1,
  answer_wait_s: 10,
  retry_s: 1,
  retry_max_s: 30,
  fetches_max: 4,
  fetch_entries: 100,
  gap_wait_s: 0.3,
  held_entries_max: 256,
  held_total_max: 4_096,
  catchup_entries_max: 10_000,
  unknown_entries_max: 100,
  search_entries_max: 100_000,
  asks_max: 64,
  asks_reserved: 8,
  asks_waiting_max: 4_096,
  marks_paced: 32,
  marks_pace_s: 0.25,
  backoff_min_s: 0.5,
  backoff_max_s: 60,
  named_wait_max_s: 600,
  stable_s: 5,
  welcome_wait_s: 10,
  replaced_attempts: 5,
  watch_pace_s: 1,
  typing_again_s: 3,
  typing_pace_s: 1,
  typing_idle_s: 5,
  recording_max_s: 900,
  typing_shown_s: 10,
  typing_shown_max: 256,
};
