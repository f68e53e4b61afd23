"""Key files: modes, rotation, the allow list; nothing damaged lets anybody in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq

from router.keys import KeyFileError, KeyRing, allow_list, create, load, load_or_create


def test_a_created_pair_is_loaded_again_and_its_secret_is_private(tmp_path: Path) -> None:
    keys = create(tmp_path / "keys", "node-1")
    assert load(tmp_path / "keys", "node-1") == keys and zmq.curve_public(keys.secret) == keys.public
    assert (tmp_path / "keys" / "node-1.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert keys.secret.decode() not in repr(keys)
    assert sorted(os.listdir(tmp_path / "keys")) == ["node-1.key", "node-1.pub"]


def test_the_allow_list_maps_keys_to_names_and_skips_what_is_damaged(tmp_path: Path) -> None:
    a, b = create(tmp_path, "a"), create(tmp_path, "b")
    for name, content in (("empty", b""), ("short", b"abc"), ("long", a.public + b"x"), ("odd", b"\xff" * 40), ("big", b"#" * 40)):
        (tmp_path / f"{name}.pub").write_bytes(content)
    (tmp_path / "bad name.pub").write_bytes(a.public)
    (tmp_path / "notes.txt").write_bytes(b.public)
    assert allow_list(tmp_path) == {a.public: "a", b.public: "b"}
    assert allow_list(tmp_path / "nowhere") == {}


def test_rotation_replaces_the_key_and_a_ring_sees_it(tmp_path: Path) -> None:
    old = create(tmp_path, "a")
    ring = KeyRing(tmp_path)
    assert ring.name_of(old.public) == "a" and ring.key_of("a") == old.public
    new = create(tmp_path, "a")
    assert ring.name_of(old.public) is None and ring.name_of(new.public) == "a" and ring.key_of("a") == new.public
    (tmp_path / "a.pub").unlink()
    assert ring.name_of(new.public) is None and ring.key_of("a") is None


def test_load_or_create_keeps_what_is_there(tmp_path: Path) -> None:
    made = load_or_create(tmp_path, "a")
    assert load_or_create(tmp_path, "a") == made


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    create(tmp_path, "a")
    (tmp_path / "a.key").chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        load(tmp_path, "a")


@pytest.mark.parametrize("content", [b"", b"one", b"x" * 40 + b"\n" + b"y" * 40, b"a b c"])
def test_a_damaged_key_file_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    create(tmp_path, "a")
    (tmp_path / "a.key").write_bytes(content)
    with pytest.raises(KeyFileError, match="damaged"):
        load(tmp_path, "a")


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="homing keys"):
        load(tmp_path, "a")


@pytest.mark.parametrize("name", ["", "../x", "a:b", "a/b", ".hidden", "x" * 65])
def test_what_cannot_be_a_name_makes_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError):
        create(tmp_path / "keys", name)
    with pytest.raises(KeyFileError):
        load(tmp_path, name)
    assert not (tmp_path / "keys").exists()
