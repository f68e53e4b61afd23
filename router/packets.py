"""The packets of the mesh and how they look on the wire.

A packet is one byte, the protocol version, followed by one msgpack array whose first item says which packet it is. A HELLO looks the
same in every version (later ones only add fields at its end), so two releases can always find out which version both understand;
everything else is read only in a version that we speak. Frames travel as opaque binary strings (measured: 0.05 µs a frame and side,
against 0.3 when they are embedded msgpack).

Owns the byte layout. Knows nothing of links, order or time. Law: ``decode`` raises ``PacketError`` and nothing else, whatever it is fed.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

VERSION_MIN = 1
VERSION_MAX = 1

Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, Meta(max_length=256)]
Incarnation = Annotated[str, Meta(max_length=320)]
Endpoint = Annotated[str, Meta(max_length=512)]


class Hello(Struct, array_like=True, frozen=True, gc=False, tag=1):
    """Who I am, whom I mean, what I speak. ``nonce`` other than 0 asks for a hello back that has it as ``echo``."""

    version_min: int
    version_max: int
    name: Name
    incarnation: Incarnation
    endpoint: Endpoint
    dst_name: Name
    dst_incarnation: Incarnation
    """"" when not known yet."""
    epoch: Number
    nonce: Number
    echo: Number


class Data(Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Frames ``first_no`` and following; without frames a pure acknowledgement, and ``first_no`` the next number to be given."""

    src: Incarnation
    dst: Incarnation
    epoch: Number
    first_no: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    ack: Number
    """All frames up to this are handled (router/link.py says when it counts)."""
    want: Number
    """Other than 0: the first frame that is missing, send again from there."""
    frames: list[bytes]


class TableRequest(Struct, array_like=True, frozen=True, gc=False, tag=3):
    """My table is at epoch ``base``, yours is newer: send me the difference."""

    src: Incarnation
    dst: Incarnation
    epoch: Number
    base: Number


class Table(Struct, array_like=True, frozen=True, gc=False, tag=4):
    """A delta of the slot table, opaque here."""

    src: Incarnation
    dst: Incarnation
    epoch: Number
    delta: bytes


Packet: TypeAlias = Hello | Data | TableRequest | Table


_ADDRESS = re.compile(r"tcp://(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")


def is_address(endpoint: str) -> bool:
    """Whether it is a numeric TCP address. What others tell must be one: ZeroMQ looks names up in the thread that carries all traffic of
    the process, and one that is not answered stops it for as long as the resolver waits (seen: longer than a lease)."""
    match = _ADDRESS.fullmatch(endpoint)
    return match is not None and 0 < int(match[1]) < 65_536


class PacketError(Exception):
    """The peer's fault: these bytes are no packet."""


class OtherVersion(PacketError):
    """A packet, if it is one, in a version that we do not speak."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packet).decode
_decode_hello = msgspec.msgpack.Decoder(Hello).decode
_PREFIX = [bytes([version]) for version in range(256)]


def encode(packet: Packet, version: int) -> bytes:
    """The packet's bytes in protocol ``version`` (0 to 255)."""
    return _PREFIX[version] + _encode(packet)


def decode(data: bytes, versions: tuple[int, int] = (VERSION_MIN, VERSION_MAX)) -> Packet:
    """The packet in ``data``; outside of ``versions`` only a hello can be read.

    Raises:
        OtherVersion: not a hello, in a version that we do not speak.
        PacketError: anything else that is wrong with it.
    """
    if not data:
        raise PacketError("empty")
    spoken = versions[0] <= data[0] <= versions[1]
    try:
        return _decode(memoryview(data)[1:]) if spoken else _decode_hello(memoryview(data)[1:])
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise PacketError(str(error)) if spoken else OtherVersion(str(data[0])) from error
