"""Configuration: every mistake is said with its key path, all at once; relations are checked."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import Struct

from router.config import ConfigError, MeshConfig, load, section
from router.limits import MeshLimits


class Other(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: str
    size: int = 3


TYPES: dict[str, type[Struct]] = {"mesh": MeshConfig, "other": Other}


def write(path: Path, text: str) -> Path:
    (path / "homing.toml").write_text(text, encoding="utf-8")
    return path / "homing.toml"


def test_defaults_go_together() -> None:
    assert MeshConfig().problems() == [] and MeshLimits().problems() == []


def test_a_file_and_overrides_make_typed_sections(tmp_path: Path) -> None:
    path = write(tmp_path, '[mesh]\nwindow_frames = 2048\n[other]\nname = "x"\nsize = 4\n')
    sections = load(path, TYPES, {"mesh.keepalive_s": "2.5", "other": {"size": 9}})
    mesh = section(sections, "mesh", MeshConfig)
    assert mesh.window_frames == 2048 and mesh.keepalive_s == 2.5
    assert section(sections, "other", Other) == Other(name="x", size=9)
    with pytest.raises(TypeError):
        section(sections, "other", MeshConfig)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mesh]\nwindow_frames = "many"\n', "mesh.window_frames: Expected `int`"),
        ("[mesh]\nwindow_framez = 1\n", "mesh: Object contains unknown field `window_framez`"),
        ("[mash]\n", "mash: unknown section"),
        ("mesh = 3\n", "mesh: Expected a section"),
        ("[other]\nsize = 1\n", "other: Object missing required field `name`"),
        ("[mesh]\nwindow_frames = 0\n", "mesh.window_frames must be greater than 0"),
        ("[mesh]\nresend_s = 0.01\n", "mesh.resend_s must be at least 10 x mesh.ack_delay_s"),
        ("[mesh]\nmessage_bytes_max = 600000\n", "mesh.message_bytes_max must be at least mesh.frame_bytes_max + 65536"),
        ("[mesh]\nheartbeat_timeout_s = 1.0\n", "mesh.heartbeat_timeout_s must be at least 2 x mesh.heartbeat_s"),
        ("[mesh\n", "is not TOML"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_path(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, text), TYPES, None if "[other]" in text else {"other.name": "x"})
    assert said in str(error.value)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, '[mesh]\nkeepalive_s = -1.0\nwindow_frames = 1\n[mash]\n[other]\nname = "x"\nsize = "big"\n')
    with pytest.raises(ConfigError) as error:
        load(path, TYPES, {"nothing.at_all": "1"})
    for said in ("mesh.keepalive_s", "mesh.packet_frames_max", "mash", "other.size", "nothing"):
        assert said in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml", TYPES)
    (tmp_path / "bad.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "bad.toml", TYPES)


def test_without_a_file_the_defaults_hold() -> None:
    assert load(None, {"mesh": MeshConfig}) == {"mesh": MeshConfig()}


def test_a_pace_of_zero_is_none() -> None:
    assert MeshConfig(turn_pace_s=0.0).problems() == []
