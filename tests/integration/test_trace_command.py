"""`homing trace` and `homing revoke`, as operators call them, against a running cluster."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path

import homing
from homing import ids

from tests.integration.conftest import ClusterProcess
from tools.token import issue


async def command(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `homing …`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "tools.cli", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


async def test_trace_tells_what_became_of_a_message_at_both_homes(shared_cluster: ClusterProcess) -> None:
    sender, receiver = (f"traced-{secrets.token_hex(4)}" for _ in range(2))
    url, data = shared_cluster.node_urls[0], shared_cluster.data
    async with homing.connect(url, issue(data, sender, "d")) as alice, homing.connect(url, issue(data, receiver, "d")):
        said = await alice.send(ids.user_id(receiver), "hello")
        entry = await said.stored
        await said.delivered
    code, out, errors = await command("trace", entry.message_id, "--data", str(data), "--json")
    assert code == 0, errors
    told = json.loads(out)
    assert (told["schema"], told["message"]) == ("homing.trace/1", entry.message_id)
    steps = [step["what"] for step in told["steps"]]
    assert [what for what in steps if what in ("asked", "appended", "stored", "sent")] == ["asked", "appended", "stored", "sent"]
    code, out, _ = await command("trace", entry.message_id, "--data", str(data))
    assert code == 0 and "appended" in out


async def test_who_revokes_a_device_hears_that_it_is_done(shared_cluster: ClusterProcess) -> None:
    code, out, errors = await command("revoke", "--user", "nobody-yet", "--device", "lost", "--data", str(shared_cluster.data))
    assert (code, out) == (0, "lost of nobody-yet is let in no more\n"), errors


async def test_without_the_operators_key_both_say_what_is_missing(tmp_path: Path) -> None:
    for arguments in (("trace", f"{ids.user_id('a')}.1.1"), ("revoke", "--user", "a", "--device", "d")):
        code, _, errors = await command(*arguments, "--data", str(tmp_path))
        assert code == 1 and "no operators' key" in errors and str(tmp_path) in errors
