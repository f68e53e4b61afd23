"""Finds out, before anything is started, whether the ports of a cluster can be had."""

from __future__ import annotations

import socket
from collections.abc import Iterable

import psutil

from tools.layout import HOST


def is_free(port: int, host: str = HOST) -> bool:
    """Whether one could listen on ``port`` now (closed connections that still linger there do not count)."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def taken(ports: Iterable[int]) -> list[int]:
    return [port for port in ports if not is_free(port)]


def holder(port: int) -> str:
    """Who listens on ``port``, as far as this user may know: ``postgres (pid 812)``, else ``another program``."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        pass
    return "another program"
