"""The one way in which a request to a node is refused: a code of ``homing.codes`` with words for people."""

from __future__ import annotations

from homing.codes import Code


class Refused(Exception):
    """A request is not done.

    Args:
        code: what the client acts on.
        message: for people.
        field: what is wrong, if it is one field or parameter.
        retry_after_s: when to try again, where that helps.
        status: the HTTP status, where it is not the one that goes with the code.
    """

    def __init__(self, code: Code, message: str, field: str | None = None, retry_after_s: float | None = None, status: int = 0) -> None:
        super().__init__(message)
        self.code, self.message, self.field = code, message, field
        self.retry_after_s, self.status = retry_after_s, status
