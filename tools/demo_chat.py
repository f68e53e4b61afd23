"""Makes the demo: two people and what they have said so far, through the same doors as everybody else.

Law: it may be cut off anywhere and begun again: the names and passwords are on disk before anybody is registered, and every message has
an id of its own that it keeps. What is there stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from pathlib import Path

import aiohttp
from homing import codes, ids

from node.demo.people import DemoPeople, DemoPerson, read, write

REQUEST_TIMEOUT_S = 10.0
TRIES = 20
RETRY_S = 0.25
"""A node that has just become ready may be busy for some seconds."""
HANDLES_MAX = 9
"""maya, maya-2 …: in a data directory that had other people before it had a demo, a handle may be taken."""
PASSWORD_BYTES = 24
GROUP = "Shopping list"
PEOPLE = (("maya", "Maya Lindqvist"), ("theo", "Theo Marchetti"))
DIRECT_CHAT = (
    (0, "The shop says that the kit for our pigeon loft is there. Shall we fetch it on Saturday?"),
    (1, "Yes! Before ten, or the car park is full."),
    (0, "Nine, then. I bring the coffee ☕"),
    (1, "And I the trailer. My uncle lends it to us until Sunday evening."),
    (0, "Have you read about the race from Bordeaux? One of them came home after four years."),
    (1, "Four years! She must have had a lot to tell."),
    (1, "This is how they do it, as far as anybody knows: https://en.wikipedia.org/wiki/Homing_pigeon"),
    (0, "The sun, the earth's magnetic field, and the motorways. I get lost with a map."),
    (1, "That is why you bring the coffee and I drive 😄"),
)
GROUP_CHAT = (
    (0, "For Saturday: please add whatever is missing."),
    (1, "Eight hinges, wood glue, two metres of wire mesh."),
    (0, "And paint. I would like the green one."),
    (1, "Green it is. Two tins?"),
    (0, "Two tins, and something for lunch 🥪"),
)


class DemoFailed(Exception):
    """The demo could not be made; the cluster runs all the same."""


class Api:
    """The REST interface of one node."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url

    async def ask(self, method: str, path: str, body: dict[str, object], token: str = "") -> tuple[int, dict[str, object]]:
        """The answer's status and body, after as many tries as it takes. Raises DemoFailed: there is none that helps."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        reason = "no answer"
        for _ in range(TRIES):
            try:
                async with self.http.request(method, self.url + path, json=body, headers=headers) as response:
                    answer = await response.json(content_type=None) if response.status != 204 else {}
                    if response.status < 500 and response.status != 429:
                        return response.status, answer
                    reason = str(answer.get("detail", response.status))
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                reason = str(error) or type(error).__name__
            await asyncio.sleep(RETRY_S)
        raise DemoFailed(f"{method} {path}: {reason}")

    async def do(self, method: str, path: str, body: dict[str, object], token: str = "") -> dict[str, object]:
        """The same; raises DemoFailed also when it is refused."""
        status, answer = await self.ask(method, path, body, token)
        if status >= 400:
            raise DemoFailed(f"{method} {path}: {answer.get('detail', status)}")
        return answer


async def make(directory: Path, url: str) -> DemoPeople:
    """The demo's people in the cluster of the node at ``url``, registered, and their chat said.

    Raises:
        DemoFailed: it cannot be done now.
        OSError: the directory cannot be written.
    """
    known = await asyncio.to_thread(read, directory)
    if known is not None and known.has_chat:
        return known
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S), trust_env=False) as http:
        api = Api(http, url)
        drafted = known or DemoPeople((_drafted(*PEOPLE[0]), _drafted(*PEOPLE[1])))
        people = list(drafted.people)
        tokens: list[str] = []
        for n in range(len(people)):
            tokens.append(await _come_in(api, directory, people, n))
        users = [ids.user_id(person.handle) for person in people]
        await _talk(api, tokens, users, (users[1], users[0]), DIRECT_CHAT, len(DIRECT_CHAT))
        made = await api.do("POST", "/v1/groups", {"id": _message_id(users, GROUP, 0), "title": GROUP, "members": [users[1]]}, tokens[0])
        group = str(_entry(made)["conversation"])
        await _talk(api, tokens, users, (group, group), GROUP_CHAT, len(GROUP_CHAT) - 1)
        for token in tokens:  # these devices were only there to say it
            with contextlib.suppress(DemoFailed):  # a device too many does no harm
                await api.do("DELETE", "/v1/sessions/current", {}, token)
    done = DemoPeople((people[0], people[1]), has_chat=True)
    await asyncio.to_thread(write, directory, done)
    return done


def _drafted(handle: str, name: str) -> DemoPerson:
    return DemoPerson(handle, name, secrets.token_urlsafe(PASSWORD_BYTES))


async def _come_in(api: Api, directory: Path, people: list[DemoPerson], n: int) -> str:
    """Registers the n-th person, or signs in who is registered already; returns an access token."""
    handle = PEOPLE[n][0]
    for number in range(1, HANDLES_MAX + 1):
        person = people[n]
        await asyncio.to_thread(write, directory, DemoPeople((people[0], people[1])))
        given: dict[str, object] = {"handle": person.handle, "password": person.password}
        status, answer = await api.ask("POST", "/v1/accounts", {**given, "name": person.name})
        if status == 201:
            return str(answer["access_token"])
        if answer.get("code") != codes.CONFLICT.number:
            raise DemoFailed(f"{person.handle} could not be registered: {answer.get('detail', status)}")
        status, answer = await api.ask("POST", "/v1/sessions", given)
        if status == 201:
            return str(answer["access_token"])  # an earlier start of ours was cut off
        people[n] = _drafted(f"{handle}-{number + 1}", person.name)
    raise DemoFailed(f"the handles {handle} to {handle}-{HANDLES_MAX} are taken")


async def _talk(api: Api, tokens: list[str], users: list[str], to: tuple[str, str], lines: tuple[tuple[int, str], ...], read: int) -> None:
    """Has them say it, and read the first ``read`` of it; whoever said something has read it."""
    for number, (who, body) in enumerate(lines, start=1):
        message: dict[str, object] = {"id": _message_id(users, to[0], number), "to": to[who], "body": body}
        said = _entry(await api.do("POST", "/v1/messages", message, tokens[who]))
        mark: dict[str, object] = {"conversation": said["conversation"], "seq": said["seq"], "status": "read"}
        for reader in (who, 1 - who) if number <= read else (who,):
            await api.do("POST", "/v1/receipts", mark, tokens[reader])


def _entry(answer: dict[str, object]) -> dict[str, object]:
    entry = answer.get("entry")
    if not isinstance(entry, dict):
        raise DemoFailed(f"the answer cannot be read: {answer}")
    return entry


def _message_id(users: list[str], where: str, number: int) -> str:
    """The client's id of one of their messages: the same at every try."""
    return hashlib.sha256("\0".join(("homing.demo", *users, where, str(number))).encode()).hexdigest()[:32]
