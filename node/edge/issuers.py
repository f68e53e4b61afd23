"""Tokens that others sign: which issuers are trusted, what their tokens must say, and who that is here.

Owns the section ``[tokens]``, the issuers' keys once somebody has fetched them (``jwks.py``), and the check of one token. It must not know
a network; ``now`` is seconds since 1970.

Laws:
    * Only the algorithms of the configuration are accepted, none of them symmetric, and only for the audience that it names.
    * A user of an issuer is nobody else: his id is made of the issuer and his subject, in a form that no account's handle can have.
    * A token whose key is not known yet is not refused for ever: the keys are asked for again, and the client may try again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import jwt
from homing import codes, ids
from msgspec import Struct, field

from node.edge.tokens import NAME_CHARS_MAX, TOO_LONG_VALID, Claims, TokenError, has_short_life

log = logging.getLogger("homing.edge")

ALGORITHMS = frozenset({"EdDSA", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"})
"""What may be configured: signatures by a private key."""
KEYS_MAX = 64
"""Keys of one issuer; a set has two or three."""
SUBJECT_CHARS_MAX = 255
"""As OpenID Connect has it."""
LEEWAY_S = 30
"""How far an issuer's clock may be ahead (``nbf``)."""


class IssuerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One issuer that is trusted."""

    issuer: str
    """What its tokens say under ``iss``."""
    jwks_url: str
    """Where its keys are: a JSON Web Key Set, over https."""
    audience: str
    """What its tokens must say under ``aud``: that they are meant for this service."""
    algorithms: list[str] = field(default_factory=lambda: ["EdDSA", "ES256", "RS256"])
    """Accepted signatures."""
    name_claim: str = "name"
    """The claim that holds what a person is called."""
    device_claim: str = "sid"
    """The claim that tells a person's devices apart; without it each token is a device of its own."""


class TokensConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[tokens]``: issuers beside the cluster's own."""

    issuers: list[IssuerConfig] = field(default_factory=list)
    """``[[tokens.issuers]]`` tables with ``issuer``, ``jwks_url``, ``audience`` and, if they differ, ``algorithms``, ``name_claim``,
    ``device_claim``."""
    jwks_refresh_s: float = 300.0
    """How often an issuer's keys are fetched: so long a key that it took back still counts."""
    jwks_retry_s: float = 10.0
    """How soon they are fetched again after an error, or because a token names a key that is not known; not more often, for anybody can
    make up a key's name."""
    jwks_stale_s: float = 86_400.0
    """How long keys count that cannot be fetched any more."""
    jwks_timeout_s: float = 5.0
    """How long a fetch may take."""

    def problems(self, path: str = "tokens") -> list[str]:
        rules = [
            (0 < self.jwks_retry_s <= self.jwks_refresh_s, "jwks_retry_s must be more than 0 and at most jwks_refresh_s"),
            (self.jwks_stale_s >= self.jwks_refresh_s, "jwks_stale_s must be at least jwks_refresh_s"),
            (self.jwks_timeout_s > 0, "jwks_timeout_s must be more than 0"),
            (len({i.issuer for i in self.issuers}) == len(self.issuers), "issuers must differ"),
        ]
        for n, each in enumerate(self.issuers):
            unknown = sorted(set(each.algorithms) - ALGORITHMS)
            rules += [
                (bool(each.issuer and each.audience), f"issuers[{n}] must have an issuer and an audience"),
                (not unknown and bool(each.algorithms), f"issuers[{n}].algorithms may be {', '.join(sorted(ALGORITHMS))}"),
                (_is_safe(each.jwks_url), f"issuers[{n}].jwks_url must begin with https:// (http:// only to this machine)"),
            ]
        return [f"{path}.{text}" for holds, text in rules if not holds]


class Issuer:
    """One of them, with the keys that were fetched last."""

    def __init__(self, config: IssuerConfig, want_keys: Callable[[], None]) -> None:
        self.config = config
        self._want_keys = want_keys
        self.keys: dict[str, jwt.PyJWK] = {}

    def set_keys(self, document: object) -> bool:
        """Takes a key set; whether it is another than before. Raises ValueError: it is none."""
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list) or len(listed) > KEYS_MAX:
            raise ValueError("this is no JSON Web Key Set")
        keys = {key.key_id: key for each in listed if (key := self._usable(each)) is not None and key.key_id is not None}
        before = {kid: key._jwk_data for kid, key in self.keys.items()}
        self.keys = keys
        return before != {kid: key._jwk_data for kid, key in keys.items()}

    def _usable(self, data: object) -> jwt.PyJWK | None:
        if not isinstance(data, dict) or data.get("use", "sig") != "sig" or data.get("kty") == "oct":
            return None
        try:
            key = jwt.PyJWK.from_dict(data)
        except jwt.PyJWTError:
            return None  # of a kind that we do not know: its tokens are refused
        return key if key.algorithm_name in self.config.algorithms else None

    def verify(self, token: str, header: Mapping[str, object], now: float) -> Claims:
        """Who an issuer's token says that it is. Raises TokenError."""
        kid = header.get("kid")
        key = self.keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            self._want_keys()
            raise TokenError(codes.UNAVAILABLE, "the issuer's key is not known yet")
        try:
            payload = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self.config.issuer,
                audience=self.config.audience,
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False, "require": ["exp", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise TokenError(codes.TOKEN_INVALID, "the token cannot be verified") from None
        not_before = payload.get("nbf", 0)
        if not isinstance(not_before, int | float) or now < not_before - LEEWAY_S:
            raise TokenError(codes.TOKEN_INVALID, "the token is not valid yet")
        return self._claims(payload, hashlib.sha256(token.encode()).hexdigest())

    def _claims(self, payload: Mapping[str, object], own_id: str) -> Claims:
        subject, exp, name = payload.get("sub"), payload.get("exp"), payload.get(self.config.name_claim, "")
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_CHARS_MAX:
            raise TokenError(codes.TOKEN_INVALID, "the token names no user")
        if not isinstance(exp, int | float) or isinstance(exp, bool) or not 0 < exp < 2**53:
            raise TokenError(codes.TOKEN_INVALID, "the token has no time limit")
        if not has_short_life(payload):
            raise TokenError(codes.TOKEN_INVALID, TOO_LONG_VALID)
        shown = "".join(c for c in name if c.isprintable())[:NAME_CHARS_MAX].strip() if isinstance(name, str) else ""
        device = payload.get(self.config.device_claim) or payload.get("jti") or own_id
        return Claims(self.user_id(subject), _hashed("device", str(device))[:24], shown, int(exp), own_id[:24])

    def user_id(self, subject: str) -> str:
        """The id of one of its users: case counts in a subject, and no handle has a colon."""
        return ids.user_id(f"issuer:{_hashed(self.config.issuer, subject)}")


class Issuers:
    """All of them, by what tokens say under ``iss``."""

    def __init__(self, config: TokensConfig, want_keys: Callable[[str], None] = lambda _: None) -> None:
        """``want_keys`` is told an issuer whose token names a key that is not known."""

        def of(each: IssuerConfig) -> Issuer:
            return Issuer(each, lambda: want_keys(each.issuer))

        self.by_name = {each.issuer: of(each) for each in config.issuers}

    def of(self, token: str) -> Issuer | None:
        """The issuer that a token names, which nothing proves yet; None: it is none of these."""
        if not self.by_name:
            return None
        try:
            name = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return self.by_name.get(name) if isinstance(name, str) else None


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and (
            parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost"))
        )
    except ValueError:
        return False
