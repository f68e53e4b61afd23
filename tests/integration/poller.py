"""A client that polls, for tests: it asks any node, loses answers when it is told to, and holds every entry once."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import port_of
from tests.integration.rest_client import Answer, Value
from tools import token


class Poller:
    """One device of one user."""

    def __init__(self, cluster: ClusterProcess, user: str, device: str = "poller", node: int = 0) -> None:
        self.cluster, self.node = cluster, node
        self.token = token.issue(cluster.data, user, device, 3_600)
        self.cursor = ""
        self.watch: list[str] = []
        self.held: dict[str, list[Value]] = {}
        """Conversation → its entries, by seq and without holes."""
        self.events: list[Value] = []

    def request(self, method: str, path: str, body: Any = None, node: int | None = None) -> Answer:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", port_of(self.cluster, self.node if node is None else node), timeout=40)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            text = answer.read()
            return Answer(answer.status, json.loads(text) if text else {}, dict(answer.headers))
        finally:
            connection.close()

    def path(self, timeout_s: int = 25) -> str:
        return (
            f"/v1/events?timeout={timeout_s}"
            + (f"&cursor={self.cursor}" if self.cursor else "")
            + (f"&watch={','.join(self.watch)}" if self.watch else "")
        )

    def raw(self, timeout_s: int = 25) -> Answer:
        """One poll, whatever the answer."""
        return self.request("GET", self.path(timeout_s))

    def poll(self, timeout_s: int = 25, lose: bool = False) -> list[Value]:
        """One poll; takes its events in, unless the answer is to be lost."""
        answer = self.raw(timeout_s).is_(200)
        events: list[Value] = answer["events"]
        if not lose:
            self.cursor = answer["cursor"]
            self.events += events
            for event in events:
                self._take(event)
        return events

    def until(self, op: str, **fields: Any) -> Value:
        """Polls until there was such an event."""
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            for event in self.events:
                if event["op"] == op and all(event.get(key) == value for key, value in fields.items()):
                    return event
            self.poll(5)
        raise AssertionError(f"no {op} {fields} among {self.events}")

    def hears(self, body: str) -> Value:
        """Polls until it has an entry with this body; returns it."""
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            for entries in self.held.values():
                for entry in entries:
                    if entry.get("body") == body:
                        return entry
            self.poll(5)
        raise AssertionError(f"{body} did not come: {self.held}")

    def _take(self, event: Value) -> None:
        if event["op"] == "message":
            entry = event["entry"]
            self._catch_up(entry["conversation"], entry["seq"] - 1)
            if entry["seq"] > self._last(entry["conversation"]):
                self.held.setdefault(entry["conversation"], []).append(entry)
        for head in [event] if event["op"] == "head" else event.get("heads", ()):
            self._catch_up(head["conversation"], head["seq"])

    def _last(self, conversation: str) -> int:
        entries = self.held.get(conversation)
        return entries[-1]["seq"] if entries else 0

    def _catch_up(self, conversation: str, seq: int) -> None:
        while self._last(conversation) < seq:
            answer = self.anywhere("GET", f"/v1/conversations/{conversation}/messages?after={self._last(conversation)}")
            if not answer["entries"]:
                return
            self.held.setdefault(conversation, []).extend(answer["entries"])

    def anywhere(self, method: str, path: str, body: Any = None) -> Value:
        """A request to one node after another until one does it."""
        limit = time.monotonic() + 60
        while time.monotonic() < limit:
            try:
                answer = self.request(method, path, body)
            except (OSError, http.client.HTTPException):
                answer = None
            if answer is not None and answer.status < 300:
                return answer.value
            assert answer is None or answer.status in (429, 503), answer
            self.node = (self.node + 1) % 3
            time.sleep(0.05)
        raise AssertionError(f"nobody does {method} {path}")
