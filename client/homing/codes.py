"""Every error and close code of the protocol, in ranges that a client can act on.

======== ============= ==================================================================
range    action        what a client does
======== ============= ==================================================================
1000s    ``fix``       the request is wrong: do not repeat it as it is
2000s    ``retry``     the same request (same id) again after ``retry_after_ms``
3000s    ``reconnect`` close, wait, say hello again
4000s    ``sign_in``   get another token first
5000s    ``sync``      fetch what is missing, then send again with a newer ``after``
======== ============= ==================================================================

``remedy`` says the same for one code, to who asks for no more than that: ``fix``, ``retry`` (connect again first, if the connection is
gone), ``refresh`` (the access token), ``sync``, or ``stop``: nothing helps that a program could do by itself.
"""

from __future__ import annotations

from typing import NamedTuple


class Code(NamedTuple):
    number: int
    name: str

    @property
    def action(self) -> str:
        return ("fix", "retry", "reconnect", "sign_in", "sync")[self.number // 1000 - 1]

    @property
    def remedy(self) -> str:
        if self in (NOT_IMPLEMENTED, SESSION_REPLACED, DEVICE_REVOKED):
            return "stop"
        return {"reconnect": "retry", "sign_in": "refresh"}.get(self.action, self.action)


MALFORMED = Code(1001, "malformed")
UNKNOWN_OP = Code(1002, "unknown_op")
INVALID = Code(1003, "invalid_field")
TOO_BIG = Code(1004, "too_big")
NOT_A_MEMBER = Code(1005, "not_a_member")
NOT_FOUND = Code(1006, "not_found")
FORBIDDEN = Code(1007, "forbidden")
GROUP_FULL = Code(1008, "group_full")
HELLO_TWICE = Code(1009, "hello_twice")
HELLO_FIRST = Code(1010, "hello_first")
CONFLICT = Code(1011, "conflict")
UNSUPPORTED_TYPE = Code(1012, "unsupported_type")
WRONG_CREDENTIALS = Code(1013, "wrong_credentials")
BLOCKED = Code(1014, "blocked")
NOT_IMPLEMENTED = Code(1015, "not_implemented")

OVERLOADED = Code(2001, "overloaded")
UNAVAILABLE = Code(2002, "unavailable")
RATE_LIMITED = Code(2003, "rate_limited")

GOING_AWAY = Code(3001, "going_away")
HOME_LOST = Code(3002, "home_lost")
SLOW_READER = Code(3003, "slow_reader")
SESSION_REPLACED = Code(3004, "session_replaced")
HEARTBEAT_LOST = Code(3005, "heartbeat_lost")
HELLO_TIMEOUT = Code(3006, "hello_timeout")

TOKEN_INVALID = Code(4001, "token_invalid")
TOKEN_EXPIRED = Code(4002, "token_expired")
DEVICE_REVOKED = Code(4003, "device_revoked")

RESYNC = Code(5001, "resync")

CODES = {c.name: c for c in globals().copy().values() if isinstance(c, Code)}

# WebSocket close codes (RFC 6455 §7.4 and the IANA registry; 4000 to 4999 are ours: 4000 + the error's range and number).
CLOSE_NORMAL = 1000
CLOSE_PROTOCOL = 1002
CLOSE_UNSUPPORTED = 1003
CLOSE_BAD_DATA = 1007
CLOSE_POLICY = 1008
CLOSE_TOO_BIG = 1009
CLOSE_RESTART = 1012
CLOSE_TRY_LATER = 1013
CLOSE_SIGN_IN = 4401
CLOSE_HELLO_TIMEOUT = 4408
