"""Frames of the mesh that are of the right form and say absurd things: made from the types themselves, so that a new frame or field is
among them without anybody thinking of it.

``chance`` may be a ``random.Random`` or hypothesis' own, which finds the smallest bad frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, get_args

import msgspec
from homing import ids
from msgspec import Struct, inspect

from directory.frames import DirectoryFrame
from node.core.frames import NodeFrame
from storage.frames import StorageFrame

NODE, STORAGE, DIRECTORY = (get_args(union) for union in (NodeFrame, StorageFrame, DirectoryFrame))
NUMBERS = (0, 1, 2, 3, 64, 255, 8_192, 16_383, 16_384, 65_535, 2**31, 2**53, 2**63 - 1, 2**63, 2**64 - 1, -1, -2, -(2**31), -(2**63))
TEXTS = (
    "", "x", "z" * 32, "0" * 32, "f" * 32, "ffff", "-001" + "0" * 28, "+0x1" + "0" * 28, " 1_0" + "0" * 28, "é" * 32, "\0", "A" * 32,
    "0" * 31 + "\n", "text", "group.create", "group.add", "group.remove", "group.role", "group.leave", "group.rename", "{", "[]", "null",
    '{"members":["x"]}', '{"members":7}', '{"members":["' + "z" * 32 + '"],"role":"owner","title":""}', "owner", "admin", "member", "node",
    "storage", "home_lost", "device_revoked", "no such code", "1.2", "x" * 5_000, "node-1", "node-1:x", "tcp://127.0.0.1:1",
)  # fmt: skip


class Strange:
    """Makes them.

    Args:
        texts: ids and names that mean something where the frames go.
        sound: how often a text is one of these, or a number a small one: only what is half right gets far.
    """

    def __init__(self, chance: Random, texts: Sequence[str] = (), sound: float = 0.7) -> None:
        self.chance = chance
        self.texts = texts
        self.sound = sound

    def frame(self, kind: type) -> bytes:
        """One frame of this type, encoded."""
        return msgspec.msgpack.encode(self._struct(kind))

    def value(self, kind: type) -> Any:
        """One of this struct, not encoded."""
        return self._struct(kind)

    def _struct(self, kind: type) -> Any:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        values = {field.name: self._value(field.type) for field in info.fields}
        return kind(**values)

    def _value(self, kind: inspect.Type) -> Any:
        chance = self.chance
        match kind:
            case inspect.IntType():
                return chance.randrange(6) if chance.random() < self.sound else chance.choice(NUMBERS)
            case inspect.StrType():
                if self.texts and chance.random() < self.sound:
                    return chance.choice(self.texts)
                return ids.user_id(str(chance.randrange(5))) if chance.random() < 0.2 else chance.choice(TEXTS)
            case inspect.BoolType():
                return chance.random() < 0.5
            case inspect.NoneType():
                return None
            case inspect.BytesType():
                return chance.randbytes(chance.randrange(20))
            case inspect.Metadata():
                return self._value(kind.type)
            case inspect.FloatType():
                return chance.choice((0.0, 0.5, -1.0, 1e9, 1e300))
            case inspect.DictType():
                keys, values = kind.key_type, kind.value_type
                return {self._value(keys): self._value(values) for _ in range(chance.choice((0, 0, 1, 3)))}
            case inspect.LiteralType():
                return chance.choice(list(kind.values))
            case inspect.EnumType():
                return chance.choice(list(kind.cls))
            case inspect.ListType() | inspect.VarTupleType():
                return [self._value(kind.item_type) for _ in range(chance.choice((0, 1, 1, 2, 3, 8)))]
            case inspect.TupleType():
                return [self._value(item) for item in kind.item_types]
            case inspect.UnionType():
                return self._value(chance.choice(list(kind.types)))
            case inspect.StructType():
                assert issubclass(kind.cls, Struct)
                return self._struct(kind.cls)
            case _:
                raise NotImplementedError(kind)
