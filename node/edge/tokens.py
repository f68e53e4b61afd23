"""Access tokens: JWTs signed with Ed25519 that name a user and a device.

Owns the form of a token, the keys and what makes a token valid. It must not know sessions or revoked devices; the time is the argument
``now``, seconds since 1970.

The keys lie in one directory: ``N.pub.pem`` for every key whose tokens are valid, ``N.key.pem`` beside the newest, which signs. Rotation
adds N+1 and removes the older private key; deleting an old ``.pub.pem`` ends the tokens it signed. A key's number is its ``kid``.

Laws:
    * Only EdDSA is accepted, whatever a token says of itself.
    * ``check`` returns Claims or raises TokenError; it raises nothing else on any input.
    * A token costs one signature check (some 100 µs) once, not at each reconnect: a node that dies sends all its clients at once.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from homing import codes, ids
from homing.codes import Code
from msgspec import Struct

if TYPE_CHECKING:
    from node.edge.issuers import Issuers

log = logging.getLogger("homing.edge")

ALGORITHM = "EdDSA"
TOKEN_CHARS_MAX = 4_096
LIFETIME_S_MAX = 31 * 86_400
"""No token is valid for longer, whoever issued it: what was revoked longer ago need not be remembered (``node/core/revocations.py``)."""
TICKET_AUDIENCE = "ws"
"""What a ticket is for: a WebSocket's hello, and nothing else."""
TOO_LONG_VALID = "the token does not say when it was issued, or is valid for more than 31 days"
NAME_CHARS_MAX = 128
CACHE_ENTRIES_MAX = 20_000
"""Verified tokens that are remembered: as many sessions as a node has in a storm's first minutes; a few hundred bytes each."""
RESCAN_S = 1.0
"""How often an unknown kid may have the directory read again: a peer can make up any number of them."""
REFRESH_S = 30.0
"""After so long the directory is read again in any case, so that a deleted key stops to count."""
_DEVICE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,9}")


class Claims(Struct, frozen=True):
    """What a valid token says."""

    user: str
    """A user's id."""
    device: str
    name: str
    """The account's name, for display."""
    exp: int
    """Seconds since 1970, from when it is not valid any more."""
    jti: str
    """The token's own id."""
    is_ticket: bool = False
    """It only opens a WebSocket session."""


class TokenError(Exception):
    """The token is not accepted; ``code`` is what the client is told."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class _Invalid(TokenError):
    def __init__(self, message: str) -> None:
        super().__init__(codes.TOKEN_INVALID, message)


class TokenAuthority:
    """Signs tokens; used by what signs people in: commands, and nodes with built-in accounts."""

    def __init__(self, keys_dir: Path, cluster: str) -> None:
        """Takes the newest key of ``keys_dir``, making the first if there is none."""
        self._cluster = cluster
        number = _newest(keys_dir, ".key.pem")
        if number is None:
            number = rotate(keys_dir)
        self.kid = str(number)
        key = load_pem_private_key((keys_dir / f"{number}.key.pem").read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError(f"{keys_dir / f'{number}.key.pem'} is not an Ed25519 key")
        self._key = key

    def sign(self, user: str, device: str, name: str, now: float, lifetime_s: float, audience: str | None = None) -> str:
        """A token for ``device`` of ``user``, valid from now on for ``lifetime_s``; with ``TICKET_AUDIENCE`` a ticket."""
        payload: dict[str, object] = {
            "iss": self._cluster,
            "sub": user,
            "device": device,
            "name": name,
            "iat": int(now),
            "exp": int(now + lifetime_s),
            "jti": os.urandom(12).hex(),
        }
        if audience is not None:
            payload["aud"] = audience
        _claims(payload)  # what we would not accept we do not sign
        return jwt.encode(payload, self._key, ALGORITHM, headers={"kid": self.kid})


class TokenChecker:
    """Verifies tokens."""

    def __init__(self, keys_dir: Path, cluster: str, cache_entries_max: int = CACHE_ENTRIES_MAX, issuers: Issuers | None = None) -> None:
        """``issuers``: those whose tokens are accepted beside the cluster's own."""
        self._keys_dir = keys_dir
        self.issuers = issuers
        self._cluster = cluster
        self._cache_entries_max = cache_entries_max
        self._cache: OrderedDict[bytes, Claims] = OrderedDict()
        self._files: dict[str, bytes] = {}
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._read_at = float("-inf")
        self.verified = 0
        """Signatures checked."""
        self.remembered = 0
        """Checks that the cache answered."""

    def check(self, token: str, now: float, *, ticket: bool = False) -> Claims:
        """Raises TokenError: not ours, not intact, of another cluster, past its time, or a ticket where it may not be one."""
        if now - self._read_at > REFRESH_S or now < self._read_at:
            self._read_keys(now)
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        claims = self._cache.get(digest)
        if claims is None:
            claims = self._verify(token, now)
            self._remember(digest, claims)
        else:
            self.remembered += 1
            self._cache.move_to_end(digest)
        if now >= claims.exp:
            self._cache.pop(digest, None)
            raise TokenError(codes.TOKEN_EXPIRED, "the token has expired")
        if claims.is_ticket and not ticket:
            raise _Invalid("a ticket only opens a WebSocket session")
        return claims

    def forget(self) -> None:
        """What was verified is verified again: an issuer's keys have changed."""
        self._cache.clear()

    def _verify(self, token: str, now: float) -> Claims:
        if len(token) > TOKEN_CHARS_MAX:
            raise _Invalid("the token is too long")
        try:
            header = jwt.get_unverified_header(token)
            issuer = self.issuers.of(token) if self.issuers is not None else None
            if issuer is not None and issuer.config.issuer != self._cluster:
                self.verified += 1
                return issuer.verify(token, header, now)
            key = self._key(header.get("kid"), now)
            self.verified += 1
            # The time is checked by us, against cluster time.
            payload = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                issuer=self._cluster,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False},
            )
        except jwt.InvalidIssuerError:
            raise _Invalid("the token is of another cluster") from None
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise _Invalid("the token cannot be verified") from None
        return _claims(payload)

    def _key(self, kid: object, now: float) -> Ed25519PublicKey:
        if not isinstance(kid, str):
            raise _Invalid("the token names no key")
        if kid not in self._keys and now - self._read_at > RESCAN_S:
            self._read_keys(now)
        key = self._keys.get(kid)
        if key is None:
            raise _Invalid("the token was signed with an unknown key")
        return key

    def _read_keys(self, now: float) -> None:
        files: dict[str, bytes] = {}
        for path in self._keys_dir.glob("*.pub.pem"):
            number = path.name.removesuffix(".pub.pem")
            if _NUMBER.fullmatch(number):
                files[number] = path.read_bytes()
        self._read_at = now
        if files != self._files:
            self._files = files
            self._keys = {kid: key for kid, data in files.items() if (key := _public_key(kid, data)) is not None}
            self._cache.clear()

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._cache[digest] = claims
        while len(self._cache) > self._cache_entries_max:
            self._cache.popitem(last=False)


def rotate(keys_dir: Path) -> int:
    """Makes a new key that signs from now on; tokens of the older ones stay valid. Returns its number."""
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = (_newest(keys_dir, ".pub.pem") or 0) + 1
    key = Ed25519PrivateKey.generate()
    # The public half first: a node must be able to verify before anybody can sign.
    _write(keys_dir / f"{number}.pub.pem", key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    _write(keys_dir / f"{number}.key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    for path in keys_dir.glob("*.key.pem"):
        if path.name != f"{number}.key.pem":
            path.unlink()
    return number


def _public_key(kid: str, data: bytes) -> Ed25519PublicKey | None:
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if isinstance(key, Ed25519PublicKey):
        return key
    log.error("not an Ed25519 public key; its tokens are refused", extra={"kid": kid})
    return None


def _newest(keys_dir: Path, suffix: str) -> int | None:
    names = (path.name.removesuffix(suffix) for path in keys_dir.glob(f"*{suffix}"))
    return max((int(name) for name in names if _NUMBER.fullmatch(name)), default=None)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all: a node may read the directory at any moment."""
    temporary = path.with_suffix(".tmp")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _claims(payload: dict[str, object]) -> Claims:
    user, device, name, exp, jti = (payload.get(key) for key in ("sub", "device", "name", "exp", "jti"))
    if not isinstance(user, str) or not ids.is_id(user) or ids.kind_of(user) != ids.USER:
        raise _Invalid("the token names no user")
    if not is_device(device):
        raise _Invalid("the token names no device")
    if not isinstance(name, str) or len(name) > NAME_CHARS_MAX:
        raise _Invalid("the token's name is not valid")
    if not isinstance(exp, int) or isinstance(exp, bool) or not isinstance(jti, str) or not 0 < len(jti) <= 64:
        raise _Invalid("the token has no time limit or no id")
    if not has_short_life(payload):
        raise _Invalid(TOO_LONG_VALID)
    audience = payload.get("aud")
    if audience is not None and audience != TICKET_AUDIENCE:
        raise _Invalid("the token is for something else")
    return Claims(user, device, name, exp, jti, audience is not None)


def has_short_life(payload: Mapping[str, object]) -> bool:
    """Whether the token says since when it is, and ends soon enough after that."""
    issued, ends = payload.get("iat"), payload.get("exp")
    return (
        isinstance(issued, int | float)
        and isinstance(ends, int | float)
        and not isinstance(issued, bool)
        and ends - issued <= LIFETIME_S_MAX
    )


def is_device(text: object) -> TypeGuard[str]:
    """Whether a token may name a device so."""
    return isinstance(text, str) and _DEVICE.fullmatch(text) is not None
