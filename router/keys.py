"""CURVE key pairs and the allow list, as files of one directory.

``NAME.key`` (mode 0600) holds a process's public and secret key, a line each; ``NAME.pub`` its public key alone. All ``.pub`` files of the
directory are the allow list: to let a process of another machine in, copy its ``.pub`` file there; to shut it out, delete it. Rotation is
``create`` again. Running processes see a change at the next connection.

Owns the files. Law (P8): a key that is not on the list belongs to nobody; a secret is never readable for others.
"""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

import zmq
from msgspec import Struct
from zmq.utils import z85

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class KeyPair(Struct, frozen=True):
    """Both keys in Z85, 40 characters."""

    public: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"KeyPair(public={self.public!r}, secret=…)"


class KeyFileError(Exception):
    """A key file that is missing, unreadable, open to others or not a key."""


def create(directory: Path, name: str) -> KeyPair:
    """Makes a new key pair for ``name`` and puts it on the allow list; one that existed is replaced (rotation).

    Raises:
        KeyFileError: the name cannot be a process name.
    """
    _check_name(name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    public, secret = zmq.curve_keypair()
    _write(directory / f"{name}.key", public + b"\n" + secret + b"\n", 0o600)
    _write(directory / f"{name}.pub", public + b"\n", 0o644)
    return KeyPair(public, secret)


def load(directory: Path, name: str) -> KeyPair:
    """The key pair of ``name``.

    Raises:
        KeyFileError: there is none, others may read it, or it is damaged.
    """
    _check_name(name)
    path = directory / f"{name}.key"
    try:
        if path.stat().st_mode & 0o077:
            raise KeyFileError(f"{path} is open to other users: chmod 600 {path}")
        public, secret = path.read_bytes().split()
        if zmq.curve_public(secret) != public or not _is_key(public):
            raise ValueError("the two keys do not belong together")
    except OSError as error:
        raise KeyFileError(f"no key for {name!r}: {error} (make one with `homing keys`)") from error
    except ValueError as error:
        raise KeyFileError(f"{path} is damaged: {error}") from error
    return KeyPair(public, secret)


def load_or_create(directory: Path, name: str) -> KeyPair:
    """The key pair of ``name``, made if there is none."""
    if (directory / f"{name}.key").exists():
        return load(directory, name)
    return create(directory, name)


def allow_list(directory: Path) -> dict[bytes, str]:
    """Public key (Z85) → name, of all that may connect. A damaged file lets nobody in and harms nobody else."""
    allowed: dict[bytes, str] = {}
    for path in sorted(directory.glob("*.pub")):
        try:
            key = path.read_bytes().strip()
        except OSError:
            continue  # deleted between listing and reading
        if _is_key(key) and _NAME.fullmatch(path.stem):
            allowed[key] = path.stem
    return allowed


class KeyRing:
    """The allow list of a directory, read again when the directory has changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_at_ns = -1
        self._names: dict[bytes, str] = {}
        self._keys: dict[str, bytes] = {}

    def name_of(self, public: bytes) -> str | None:
        """Whose key this is; None = nobody's."""
        self._refresh()
        return self._names.get(public)

    def key_of(self, name: str) -> bytes | None:
        """The public key of ``name``; None = it is not on the list."""
        self._refresh()
        return self._keys.get(name)

    def _refresh(self) -> None:
        try:
            changed_ns = self._directory.stat().st_mtime_ns
        except OSError:
            changed_ns = 0
        if changed_ns != self._read_at_ns:
            self._read_at_ns = changed_ns
            self._names = allow_list(self._directory)
            self._keys = {name: key for key, name in self._names.items()}


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise KeyFileError(f"{name!r} cannot be a process name: letters, digits, '.', '_' and '-', at most 64")


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 40 and len(z85.decode(key)) == 32
    except (KeyError, ValueError, struct.error):
        return False


def _write(path: Path, content: bytes, mode: int) -> None:
    """Atomically: a reader sees the old file or the new one, and nobody else ever sees a secret."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
