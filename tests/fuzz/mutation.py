"""Bytes that are nearly right: made of right ones, seeded."""

from __future__ import annotations

from random import Random


def flipped(data: bytes, chance: Random) -> bytes:
    """The same bytes with some of them changed, cut off, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                del changed[at : at + chance.randrange(1, 20)]
            case 2:
                changed[at:at] = changed[at : at + chance.randrange(1, 20)]
            case _:
                changed[at:at] = chance.randbytes(chance.randrange(1, 5))
    return bytes(changed)


def fuzzed(seeds: list[bytes], chance: Random) -> bytes:
    """Noise, something right, or something nearly right, rarely with a part of another one or with much of the same."""
    match chance.randrange(16):
        case 0:
            return chance.randbytes(chance.randrange(200))
        case 1:
            one, other = chance.choice(seeds), chance.choice(seeds)
            return one[: chance.randrange(len(one) + 1)] + other[chance.randrange(len(other) + 1) :]
        case 2:
            data = chance.choice(seeds)
            at = chance.randrange(len(data) + 1)
            return data[:at] + chance.choice((b"\x91", b"[", b'{"":', b"(", b" ", b"\xff", b"9")) * chance.randrange(1, 5_000) + data[at:]
        case 3:
            return chance.choice(seeds)
        case _:
            return flipped(chance.choice(seeds), chance)
