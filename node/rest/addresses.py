"""From which address a request comes, where load balancers stand in between.

Owns whose word is believed. Law: a client cannot choose its address: only what a trusted proxy says counts, and only its own last word.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

HOPS_MAX = 8
"""Proxies in a row; what is said before them is not looked at."""


class Addresses:
    """``trusted``: addresses and networks of proxies (``10.0.0.0/8``). Raises ValueError: one of them is neither."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = [ipaddress.ip_network(text) for text in trusted]

    def of(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: the first one, from here outwards, that is no trusted proxy.

        Args:
            peer: who has the connection.
            forwarded: the values of ``X-Forwarded-For``, in their order.
        """
        if not self._trusted:
            return peer
        address = peer
        said = [part.strip() for value in forwarded for part in value.split(",")][-HOPS_MAX:]
        while said and self._is_trusted(address):
            before, address = address, said.pop()
            if _parsed(address) is None:
                return before  # the proxy does not say
        return address

    def _is_trusted(self, address: str) -> bool:
        parsed = _parsed(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address)
    except ValueError:
        return None
