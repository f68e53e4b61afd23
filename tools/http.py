"""Small HTTP questions to the processes of a cluster, for commands that look at one."""

from __future__ import annotations

import json
from typing import NamedTuple

import aiohttp

TIMEOUT_S = 2.0
"""A process on this machine or the next answers within milliseconds; one that takes longer is in trouble, which is an answer too."""
BODY_BYTES_MAX = 16 << 20
"""The metrics of one process are some 100 KiB, the table of a large cluster some MiB."""


class Reply(NamedTuple):
    status: int
    body: bytes

    def json(self) -> object:
        """The body as JSON.

        Raises:
            ValueError: it is none.
        """
        return json.loads(self.body)


async def get(session: aiohttp.ClientSession, url: str) -> Reply:
    """GET ``url``.

    Raises:
        OSError: there is no answer (in time), or it is too large; the text says so in words.
    """
    try:
        async with session.get(url) as response:
            body = await response.content.read(BODY_BYTES_MAX + 1)
            while not response.content.at_eof() and len(body) <= BODY_BYTES_MAX:
                body += await response.content.read(BODY_BYTES_MAX + 1 - len(body))
            if len(body) > BODY_BYTES_MAX:
                raise OSError(f"{url} answered with more than {BODY_BYTES_MAX} bytes")
            return Reply(response.status, body)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"no answer from {url}: {str(error) or 'it took too long'}") from error


def session() -> aiohttp.ClientSession:
    """A session for ``get``; trusts no proxy settings, for what is asked is on this machine or inside the cluster."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False)
