"""The few lines of Python and JavaScript that `homing up` prints: to be pasted into a terminal as they are, from where it was started."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tools.layout import BASE_PORT, Layout, default_data

ROOT = Path(__file__).resolve().parent.parent
NODE_MAJOR_MIN = 20
"""The first node with all that the library needs."""
VERSION_WAIT_S = 5.0


def near(path: Path) -> str:
    """A path as it is written from where one stands."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def homing() -> str:
    """How the `homing` command is called from where one stands."""
    return shlex.quote(near(Path(sys.executable).with_name("homing")))


def options(layout: Layout) -> str:
    """The options with which the other commands find this cluster; none where it is the default one."""
    return "" if layout.data == default_data().resolve() else f" --data {shlex.quote(near(layout.data))}"


def environment(layout: Layout, user: str) -> str:
    """What stands before a program: whom it signs in as, and where, if that is not what it would take anyway."""
    first = next(part.url for part in layout.parts() if part.role == "node").replace("http://", "ws://")
    url = "" if layout.base_port == BASE_PORT else f"HOMING_URL={first} "
    return f"{url}HOMING_TOKEN=$({homing()} token {user}{options(layout)})"


def python(layout: Layout, sender: str, receiver: str) -> list[str]:
    interpreter = shlex.quote(near(Path(sys.executable)))
    return [
        f"{environment(layout, sender)} {interpreter} -c '",
        "import homing",
        f"""print(homing.run(lambda me: me.send("{receiver}", "Hello from Python")).body)'""",
    ]


def javascript(layout: Layout, sender: str, receiver: str) -> list[str] | None:
    """None: there is no node that could run it."""
    if not node_is_there():
        return None
    path = near(ROOT / "client" / "js" / "homing.js")
    library = json.dumps(path if path.startswith("/") else f"./{path}").replace("'", "'\\''")
    return [
        f"{environment(layout, sender)} node --input-type=module -e '",
        f"import {{ run }} from {library}",
        f"""console.log((await run(me => me.send("{receiver}", "Hello from JavaScript"))).body)'""",
    ]


def node_is_there() -> bool:
    """Whether `node` is there, and of a version that has what the library needs."""
    found = shutil.which("node")
    if found is None:
        return False
    try:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=VERSION_WAIT_S).stdout
        return int(said.strip().removeprefix("v").partition(".")[0]) >= NODE_MAJOR_MIN
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
