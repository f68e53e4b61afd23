"""The configuration section ``[demo]``: two people whose chat anybody at this machine may open in a browser."""

from __future__ import annotations

import ipaddress

from msgspec import Struct


class DemoConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """For trying Homing out on one machine: `homing up --demo` writes it, nobody else should."""

    directory: str = ""
    """Where the names and passwords of the demo's people and the codes of its links lie; empty: there is no demo. The node must listen on a
    loopback address, and have accounts."""

    def relations(self, http_host: str, has_accounts: bool) -> list[str]:
        """What is wrong between this section and others."""
        if not self.directory:
            return []
        rules = (
            (is_loopback(http_host), "demo.directory is only for a node whose process.http_host is a loopback address, as 127.0.0.1"),
            (has_accounts, "demo.directory needs accounts.enabled"),
        )
        return [text for holds, text in rules if not holds]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach it, or comes from there."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_loopback
