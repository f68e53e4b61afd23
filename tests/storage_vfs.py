"""A disk for SQLite that fails on demand and forgets what was never synced.

It sits between SQLite and the operating system (a VFS registered through ctypes, in this process only) and models what Linux does:

* ``fail_sync``: the next syncs of a kind of file report an I/O error. As on ext4 and XFS, the pages of that file then count as clean
  although they never reached the disk; they are still served from memory, and a later sync does not write them again.
* ``full``: a write that would make a file longer finds the disk full.
* ``power_loss``: the files as they would be found after the power went: only what a successful sync covered.
* ``kill``: the files as they are found after kill -9 of the process: all that was written, synced or not.

What is injected is the answer of the disk below SQLite; SQLite itself and everything above it is real.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_int64, c_void_p, cast
from pathlib import Path

OK, IOERR_FSYNC, IOERR_WRITE, FULL = 0, 10 | 4 << 8, 10 | 3 << 8, 13
MAIN_DB, WAL = 0x100, 0x80000
PAGE = 4_096

_Method = c_void_p
_Open = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_Write = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_Truncate = CFUNCTYPE(c_int, c_void_p, c_int64)
_Sync = CFUNCTYPE(c_int, c_void_p, c_int)
_Delete = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)


class _Vfs(Structure):
    _fields_ = (  # sqlite3_vfs, version 3
        ("iVersion", c_int),
        ("szOsFile", c_int),
        ("mxPathname", c_int),
        ("pNext", c_void_p),
        ("zName", c_char_p),
        ("pAppData", c_void_p),
        ("xOpen", _Method),
        ("xDelete", _Method),
        *((f"m{i}", _Method) for i in range(14)),
    )


class _Methods(Structure):
    _fields_ = (  # sqlite3_io_methods, version 3
        ("iVersion", c_int),
        ("xClose", _Method),
        ("xRead", _Method),
        ("xWrite", _Method),
        ("xTruncate", _Method),
        ("xSync", _Method),
        ("xFileSize", _Method),
        *((f"m{i}", _Method) for i in range(12)),
    )


class Disk:
    """What the disk holds of each file, and what it does next."""

    def __init__(self) -> None:
        self.durable: dict[str, bytearray] = {}
        """Contents that survive a loss of power."""
        self.dirty: dict[str, set[int]] = {}
        """Pages of a file that the next sync writes."""
        self.kinds: dict[str, int] = {}
        self.fail_sync: dict[int, int] = {}
        """Kind of file → how many of its next syncs fail."""
        self.full = False
        self.failed_syncs = 0

    def wrote(self, path: str, first: int, size: int) -> None:
        self.dirty.setdefault(path, set()).update(range(first // PAGE, (first + size - 1) // PAGE + 1))

    def truncated(self, path: str, size: int) -> None:
        # A cut is a change of the file's metadata, which the journal of the file system makes durable at the next sync of anything.
        # It is modelled as durable at once: for the stores' laws the worst case, as the log's copy must be on disk before it is cut.
        del self.durable.setdefault(path, bytearray())[size:]
        self.dirty[path] = {page for page in self.dirty.get(path, ()) if page * PAGE < size}

    def synced(self, path: str) -> int:
        kind = self.kinds[path]
        pages, self.dirty[path] = self.dirty.get(path, set()), set()
        if self.fail_sync.get(kind, 0) > 0:
            self.fail_sync[kind] -= 1
            self.failed_syncs += 1
            return IOERR_FSYNC
        content = self.durable.setdefault(path, bytearray())
        with open(path, "rb") as file:
            for page in sorted(pages):
                file.seek(page * PAGE)
                data = file.read(PAGE)
                if len(content) < page * PAGE:
                    content.extend(bytes(page * PAGE - len(content)))
                content[page * PAGE : page * PAGE + len(data)] = data
        return OK

    def power_loss(self, path: Path, into: Path) -> Path:
        """Makes the database ``path`` in the directory ``into`` as a machine finds it after its power went; returns its path there."""
        into.mkdir()
        for old, new in _files(path, into):
            if old in self.durable:
                Path(new).write_bytes(self.durable[old])
        return into / path.name

    def kill(self, path: Path, into: Path) -> Path:
        """Makes the database ``path`` in ``into`` as a process finds it that starts after another was killed: what the kernel has in
        memory, of which only what was synced is on the disk."""
        into.mkdir()
        for old, new in _files(path, into):
            if os.path.exists(old):
                shutil.copyfile(old, new)
                self.durable[new] = bytearray(self.durable.get(old, b""))
                self.dirty[new] = set(self.dirty.get(old, ()))
        return into / path.name


def _files(path: Path, into: Path) -> list[tuple[str, str]]:
    return [(f"{path}{suffix}", f"{into / path.name}{suffix}") for suffix in ("", "-wal")]


@contextmanager
def faulty_disk() -> Iterator[Disk]:
    """While it lasts, every file that this process opens through SQLite lies on the returned disk."""
    library = ctypes.CDLL(getattr(_sqlite3, "__file__", None))
    library.sqlite3_vfs_find.restype = c_void_p
    original_at = library.sqlite3_vfs_find(None)
    original = _Vfs.from_address(original_at)
    vfs = _Vfs.from_buffer_copy(original)
    disk, paths, kept = Disk(), dict[int, str](), list[object]()
    os_open, os_delete = cast(original.xOpen, _Open), cast(original.xDelete, _Delete)

    def wrap(file: int, path: str) -> None:
        """Gives one open file our write, truncate and sync. The handle's first field points to its methods."""
        slot = c_void_p.from_address(file)
        methods = _Methods.from_address(slot.value or 0)
        mine = _Methods.from_buffer_copy(methods)
        os_write, os_truncate, os_sync = cast(methods.xWrite, _Write), cast(methods.xTruncate, _Truncate), cast(methods.xSync, _Sync)

        def write(handle: int, data: int, size: int, offset: int) -> int:
            if disk.full and offset + size > os.path.getsize(path):
                return FULL
            disk.wrote(path, offset, size)
            return int(os_write(handle, data, size, offset))

        def truncate(handle: int, size: int) -> int:
            disk.truncated(path, size)
            return int(os_truncate(handle, size))

        def sync(handle: int, flags: int) -> int:
            return disk.synced(path) or int(os_sync(handle, flags))

        callbacks = _Write(write), _Truncate(truncate), _Sync(sync)
        mine.xWrite, mine.xTruncate, mine.xSync = (cast(callback, c_void_p) for callback in callbacks)
        kept.extend((callbacks, mine))
        slot.value = ctypes.addressof(mine)

    def open_(self: int, name: int, file: int, flags: int, out: object) -> int:
        code = int(os_open(original_at, name, file, flags, out))
        if code == OK and name and flags & (MAIN_DB | WAL):
            path = ctypes.string_at(name).decode()
            paths[file] = path
            disk.kinds[path] = flags & (MAIN_DB | WAL)
            wrap(file, path)
        return code

    def delete(self: int, name: bytes, sync_directory: int) -> int:
        disk.durable.pop(name.decode(), None)
        disk.dirty.pop(name.decode(), None)
        return int(os_delete(original_at, name, sync_directory))

    mine_open, mine_delete = _Open(open_), _Delete(delete)
    vfs.zName = b"faulty"
    vfs.xOpen, vfs.xDelete = cast(mine_open, c_void_p), cast(mine_delete, c_void_p)
    assert library.sqlite3_vfs_register(byref(vfs), 1) == OK
    try:
        yield disk
    finally:
        library.sqlite3_vfs_unregister(byref(vfs))
        library.sqlite3_vfs_register(c_void_p(original_at), 1)
