"""Cassandra's jars: fetched by Maven from its published artifacts, once, into the cache; a list of hashes says what they must be.

The list (``cassandra-VERSION.sha256``) lies beside this file and is looked at before each start, not only after the download: it takes a
fifth of a second, and the jars are what runs.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tools.errors import CommandError
from tools.services import debian

VERSION = "5.0.9"
LIST = Path(__file__).with_name(f"cassandra-{VERSION}.sha256")
POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>homing</groupId><artifactId>cassandra</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>{VERSION}</version>
  </dependency></dependencies>
</project>
"""
JAVA_VERSIONS = (17, 11)
"""What Cassandra 5.0 runs on."""
KEPT_LINES = 200
"""Of Maven's output, for the message when it fails."""


def cache_dir() -> Path:
    """Where downloads are kept: $HOMING_CACHE, else homing/ in the user's cache directory."""
    if own := os.environ.get("HOMING_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "homing"


def wanted() -> dict[str, str]:
    """Jar → sha256."""
    pairs = (line.split() for line in LIST.read_text(encoding="ascii").splitlines())
    return {name: digest for digest, name in pairs}


def wrong(lib: Path) -> list[str]:
    """The jars in ``lib`` that are missing or not what they should be, and those that should not be there."""
    expected = wanted()
    found = {path.name for path in lib.glob("*.jar")}
    bad = [name for name in found & expected.keys() if _digest(lib / name) != expected[name]]
    return sorted([*bad, *(found ^ expected.keys())])


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def jars(say: Callable[[str], None]) -> Path:
    """The directory with the jars, which are fetched if they are not there or damaged.

    Raises:
        CommandError: they cannot be had.
    """
    lib = cache_dir() / f"cassandra-{VERSION}" / "lib"
    if not (bad := wrong(lib)):
        return lib
    if lib.exists():
        say(f"{len(bad)} of the jars in {lib} are damaged or missing: fetching them anew …")
    lib.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=lib.parent, prefix="fetch-") as folder:
        fetched = _fetch(Path(folder), say)
        if bad := wrong(fetched):
            raise CommandError(f"the fetched jars are not those of {LIST.name}: {', '.join(bad[:5])}")
        shutil.rmtree(lib, ignore_errors=True)
        try:
            fetched.rename(lib)
        except OSError:  # another one of us was faster
            if wrong(lib):
                raise
    return lib


def _fetch(folder: Path, say: Callable[[str], None]) -> Path:
    maven = shutil.which("mvn")
    if maven is None:
        debian.install(["maven"], say)
        maven = shutil.which("mvn") or "mvn"
    (folder / "pom.xml").write_text(POM, encoding="utf-8")
    lib = folder / "lib"
    total = len(wanted())
    say(f"fetching Cassandra {VERSION} with Maven ({total} jars, 67 MB) …")
    command = [maven, "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={lib}"]
    lines: list[str] = []
    count = 0
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines = [*lines[-KEPT_LINES:], line]
            if "Downloaded" in line and ".jar" in line and (count := count + 1) % 20 == 0:
                say(f"  {count} files …")
    if process.returncode != 0:
        errors = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip() for line in lines if "ERROR" in line]
        raise CommandError(f"Maven could not fetch Cassandra: {errors[0] if errors else ''.join(lines[-1:]).strip()}")
    return lib


def java(say: Callable[[str], None]) -> str:
    """A Java that Cassandra runs on; Debian's is installed where there is none.

    Raises:
        CommandError: there is none, and it cannot be installed.
    """
    found = _find_java()
    if found is None:
        debian.install(["openjdk-17-jre-headless"], say)
        found = _find_java()
    if found is None:
        raise CommandError("needs Java 17, and finds none (JAVA_HOME names one that lies elsewhere)")
    return found


def _find_java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java"] if home else []
    candidates += [shutil.which("java") or "", *sorted(map(str, Path("/usr/lib/jvm").glob("java-17-*/bin/java")))]
    return next((path for path in candidates if path and java_version(path) in JAVA_VERSIONS), None)


def java_version(path: str) -> int:
    """The major version of a Java; 0 when it does not run."""
    try:
        done = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match[1]) if match else 0
