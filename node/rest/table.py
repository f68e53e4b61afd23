"""All routes there are: the one table that the server serves and the documents are made from."""

from __future__ import annotations

from typing import Any

from node.accounts.blocks import Blocks
from node.accounts.profiles import Profiles
from node.accounts.service import Accounts
from node.polls import Polls
from node.rest.account_routes import account_routes
from node.rest.block_routes import block_routes
from node.rest.chat import Chat
from node.rest.connect_routes import HomeOf, connect_routes
from node.rest.event_routes import event_routes
from node.rest.group_routes import group_routes
from node.rest.media_routes import media_routes
from node.rest.message_routes import message_routes
from node.rest.presence_routes import presence_routes
from node.rest.route import Route


def all_routes(accounts: Accounts, profiles: Profiles, blocks: Blocks, chat: Chat, polls: Polls, home_of: HomeOf) -> list[Route]:
    """The table; what is handed in does the work."""
    return [
        *account_routes(accounts, profiles),
        *message_routes(chat),
        *group_routes(chat),
        *event_routes(polls, chat),
        *presence_routes(profiles, chat),
        *block_routes(blocks, chat),
        *media_routes(),
        *connect_routes(home_of),
    ]


def described_routes() -> list[Route]:
    """The same to read, not to call."""
    nothing: Any = None
    return all_routes(nothing, nothing, nothing, nothing, nothing, nothing)
