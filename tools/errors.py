"""How a command of `homing` ends when it cannot do what it was asked: one clear line and an exit code.

Codes: 0 done, 1 error, 2 usage, 7 unreachable (as `expectations` has it for operators), 78 a wrong
configuration, which starting again does not mend (EX_CONFIG of sysexits.h), 130 ended by Ctrl-C.
"""

from __future__ import annotations

FAILED, USAGE, UNREACHABLE, MISCONFIGURED, INTERRUPTED = 1, 2, 7, 78, 130


class CommandError(Exception):
    """What the command line prints after ``homing COMMAND:``; no traceback, for it is nobody's bug."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
