"""The gateway's end of a session: what a client is sent when its session ends."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from homing import codes
from homing import protocol as p

from node.config import NodeConfig
from node.core.effects import CloseClient, Effect, ToClient
from node.edge.limits import RateLimits
from node.gateway import Gateway


class Socket:
    """A client's connection, as far as the gateway needs one."""

    id, binary = 1, False

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.closed: list[tuple[int, str]] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data.decode())

    def close(self, code: int, reason: str = "") -> None:
        self.closed.append((code, reason))


async def after(*effects: Effect) -> Socket:
    """What the client sees of these effects of the core."""
    core: Any = SimpleNamespace(take_effects=lambda: list(effects))
    checker: Any = None
    gateway = Gateway(core, checker, NodeConfig(), RateLimits(), asyncio.get_running_loop(), lambda: None, lambda: 0.5, lambda _: None)
    socket: Any = Socket()
    gateway.connections[socket.id] = socket
    gateway.perform()
    return socket  # type: ignore[no-any-return]


async def test_who_is_asked_to_come_back_hears_of_no_error() -> None:
    """P6: a client that reads what comes behind the ``reconnect`` would take it for one."""
    socket = await after(ToClient(1, p.Reconnect(after_ms=5)), CloseClient(1, codes.GOING_AWAY.name))
    assert socket.sent == ['{"op":"reconnect","after_ms":5}']
    assert socket.closed == [(codes.CLOSE_RESTART, "going_away")]


@pytest.mark.parametrize("code", [codes.HOME_LOST, codes.SESSION_REPLACED, codes.DEVICE_REVOKED, codes.SLOW_READER])
async def test_any_other_end_is_an_error_and_a_close(code: codes.Code) -> None:
    socket = await after(CloseClient(1, code.name))
    (error,) = socket.sent
    assert f'"code":{code.number}' in error and f'"name":"{code.name}"' in error
    assert [reason for _, reason in socket.closed] == [code.name]
