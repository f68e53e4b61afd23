"""The route of presence: whether somebody is here, asked once; who wants to be told has a session (``watch``)."""

from __future__ import annotations

from homing import protocol as p

from node.accounts.profiles import Profiles
from node.core.live_frames import PresenceAnswer
from node.rest.chat import Chat
from node.rest.route import Call, Route, id_of


def presence_routes(profiles: Profiles, chat: Chat) -> list[Route]:
    """The table."""

    async def presence(call: Call) -> p.Presence:
        user = id_of(call, "user")
        shows = await profiles.shows(call.who, user)
        if not shows:
            return p.Presence(user=user, state="unknown")
        asking = chat.asking
        answer = await chat.ask(PresenceAnswer, lambda done: asking.presence(call.who.user, shows, user, done))
        return p.Presence(user=user, state=answer.state, last_seen=answer.last_seen or None)

    return [
        Route(
            name="presence", method="GET", path="/v1/users/{user}/presence", summary="Whether somebody is here, as far as he shows it",
            handle=presence, limiter="people", answer=p.Presence,
        ),
    ]  # fmt: skip
