"""Tokens of other issuers: what is accepted, who that is here, and how their keys come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from homing import codes, ids
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from node.edge import jwks
from node.edge.issuers import KEYS_MAX, Issuer, IssuerConfig, Issuers, TokensConfig
from node.edge.jwks import KeyFetcher
from node.edge.tokens import Claims, TokenAuthority, TokenChecker, TokenError

NOW = 1_700_000_000
ISSUER = "https://login.example"
GOOD = {"iss": ISSUER, "aud": "chat", "sub": "Alice|7", "iat": NOW, "exp": NOW + 60, "name": "Alice", "sid": "laptop"}
PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey
KEYS: dict[str, PrivateKey] = {
    "RS256": generate_rsa(65_537, 2_048),
    "ES256": generate_ec(SECP256R1()),
    "EdDSA": Ed25519PrivateKey.generate(),
}
OTHER = Ed25519PrivateKey.generate()


def public(kid: str, algorithm: str, key: PrivateKey) -> dict[str, Any]:
    data = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key()))
    return {**data, "kid": kid, "alg": algorithm, "use": "sig"}


ALL = {"keys": [public(f"k-{name}", name, key) for name, key in KEYS.items()]}


def token(algorithm: str = "EdDSA", key: PrivateKey | str | None = None, kid: object = None, **changes: object) -> str:
    payload = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return jwt.encode(payload, key or KEYS[algorithm], algorithm, headers={"kid": kid or f"k-{algorithm}"})


CONFIG = TokensConfig(issuers=[IssuerConfig(ISSUER, "https://login.example/jwks", "chat")])


class Check:
    """A node's checker that trusts one issuer."""

    def __init__(self, folder: Path, config: TokensConfig = CONFIG) -> None:
        self.wanted: list[str] = []
        self.authority = TokenAuthority(folder, "cell-1")
        self.issuers = Issuers(config, self.wanted.append)
        self.checker = TokenChecker(folder, "cell-1", issuers=self.issuers)
        self.issuer = self.issuers.by_name[ISSUER]
        self.issuer.set_keys(ALL)

    def claims(self, text: str, now: float = NOW) -> Claims:
        return self.checker.check(text, now)

    def refused(self, text: str, now: float = NOW) -> codes.Code:
        with pytest.raises(TokenError) as caught:
            self.claims(text, now)
        return caught.value.code


@pytest.fixture
def check(tmp_path: Path) -> Check:
    return Check(tmp_path)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_good_token_names_a_user_of_that_issuer(check: Check, algorithm: str) -> None:
    claims = check.claims(token(algorithm))
    assert ids.kind_of(claims.user) == ids.USER
    assert (claims.user, claims.name, claims.exp, claims.is_ticket) == (check.issuer.user_id("Alice|7"), "Alice", NOW + 60, False)
    assert claims.device == check.claims(token(algorithm, iat=NOW - 1)).device, "the same session of the issuer is the same device"
    assert claims.device != check.claims(token(algorithm, sid="phone")).device
    own = check.authority.sign(ids.user_id("alice"), "phone", "Alice", NOW, 60)
    assert check.claims(own).user == ids.user_id("alice"), "the cluster's own tokens count as before"


def test_subjects_are_told_apart_by_case_and_by_issuer_and_from_every_account(check: Check) -> None:
    users = {check.issuer.user_id(subject) for subject in ("alice", "Alice", "ALICE")}
    users.add(Issuer(structs.replace(CONFIG.issuers[0], issuer="https://other.example"), lambda: None).user_id("alice"))
    assert len(users | {ids.user_id("alice")}) == 5


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: token(aud="mail"), codes.TOKEN_INVALID),
        (lambda: token(aud=None), codes.TOKEN_INVALID),
        (lambda: token(iss="https://evil.example"), codes.TOKEN_INVALID),
        (lambda: token(sub=None), codes.TOKEN_INVALID),
        (lambda: token(sub=""), codes.TOKEN_INVALID),
        (lambda: token(sub="x" * 256), codes.TOKEN_INVALID),
        (lambda: token(exp=None), codes.TOKEN_INVALID),
        (lambda: token(exp=NOW), codes.TOKEN_EXPIRED),
        (lambda: token(nbf=NOW + 31), codes.TOKEN_INVALID),
        (lambda: token(iat=None), codes.TOKEN_INVALID),
        (lambda: token(iat=NOW - 31 * 86_400), codes.TOKEN_INVALID),
        (lambda: token(key=OTHER), codes.TOKEN_INVALID),
        (lambda: token("RS256", kid="k-EdDSA"), codes.TOKEN_INVALID),
        (lambda: jwt.encode(GOOD, "x" * 64, "HS256", headers={"kid": "k-EdDSA"}), codes.TOKEN_INVALID),
        (lambda: jwt.encode(GOOD, "", "none", headers={"kid": "k-EdDSA"}), codes.TOKEN_INVALID),
    ],
)
def test_what_is_not_meant_for_us_or_not_intact_is_refused(check: Check, make: Callable[[], str], code: codes.Code) -> None:
    assert check.refused(make()) == code
    assert check.wanted == []


def test_an_unknown_key_is_asked_for_and_the_client_may_try_again(check: Check) -> None:
    new = token(key=OTHER, kid="k-new")
    assert check.refused(new) == codes.UNAVAILABLE
    assert check.wanted == [ISSUER]
    check.issuer.set_keys({"keys": [*ALL["keys"], public("k-new", "EdDSA", OTHER)]})
    assert check.claims(new)


def test_a_key_that_was_taken_back_ends_what_it_signed(check: Check) -> None:
    text = token("ES256")
    check.claims(text)
    assert not check.issuer.set_keys(ALL), "nothing new"
    assert check.issuer.set_keys({"keys": ALL["keys"][:1]})
    check.checker.forget()
    assert check.refused(text) == codes.UNAVAILABLE


def test_an_issuer_cannot_sign_for_the_cluster_nor_for_another_issuer(tmp_path: Path) -> None:
    greedy = IssuerConfig("cell-1", "https://greedy.example", "chat")
    check = Check(tmp_path, structs.replace(CONFIG, issuers=[*CONFIG.issuers, greedy]))
    check.issuers.by_name["cell-1"].set_keys({"keys": [public("1", "EdDSA", OTHER)]})
    assert check.refused(token(key=OTHER, kid="1", iss="cell-1")) == codes.TOKEN_INVALID
    assert check.refused(token(key=OTHER, kid="1")) == codes.UNAVAILABLE


def test_keys_that_are_not_for_signing_or_of_other_algorithms_are_not_taken(check: Check) -> None:
    bad: list[object] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"},
        {**public("b", "EdDSA", OTHER), "use": "enc"},
        {**public("c", "RS256", KEYS["RS256"]), "alg": "RS512"},
        {"kty": "EC", "kid": "d"},
        {"kid": "e"},
        {key: value for key, value in public("f", "EdDSA", OTHER).items() if key != "kid"},
        7,
    ]
    check.issuer.set_keys({"keys": bad})
    assert check.issuer.keys == {}


@pytest.mark.parametrize("document", [None, [], {}, {"keys": 1}, {"keys": [{}] * (KEYS_MAX + 1)}])
def test_what_is_no_key_set_is_an_error_and_changes_nothing(check: Check, document: object) -> None:
    with pytest.raises(ValueError, match="Key Set"):
        check.issuer.set_keys(document)
    assert len(check.issuer.keys) == 3


@given(
    st.dictionaries(
        st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.text())
    )
)
def test_whatever_an_issuer_signs_is_a_user_or_a_refusal(extra: dict[str, object]) -> None:
    issuer = Issuer(CONFIG.issuers[0], lambda: None)
    issuer.set_keys(ALL)
    try:
        text = jwt.encode(GOOD | extra, KEYS["EdDSA"], "EdDSA", headers={"kid": "k-EdDSA"})
    except (TypeError, ValueError):
        return  # PyJWT makes no such token
    try:
        claims = issuer.verify(text, jwt.get_unverified_header(text), NOW)
    except TokenError:
        return
    assert ids.is_id(claims.user)


@pytest.mark.parametrize("claim", ["sub", "exp", "nbf", "name", "sid", "jti", "aud", "iss", "iat"])
@pytest.mark.parametrize("value", [None, True, -1, 1e300, "", "\ud800", "\0" * 9, [1], {"a": 1}, 2**70])
def test_a_claim_of_any_kind_is_a_user_or_a_refusal(check: Check, claim: str, value: object) -> None:
    try:
        text = jwt.encode(GOOD | {claim: value}, KEYS["EdDSA"], "EdDSA", headers={"kid": "k-EdDSA"})
    except (TypeError, ValueError):
        pytest.skip("PyJWT makes no such token")
    try:
        claims = check.claims(text)
    except TokenError:
        return
    assert ids.is_id(claims.user)
    assert len(claims.name) <= 128
    assert claims.name.isprintable()


def test_the_configuration_is_checked() -> None:
    assert CONFIG.problems() == []
    wrong = TokensConfig(
        issuers=[IssuerConfig("a", "http://login.example/jwks", "x", ["HS256"]), IssuerConfig("a", "http://127.0.0.1:1/jwks", "")],
        jwks_retry_s=500,
    )
    assert [problem.partition(" ")[0] for problem in wrong.problems()] == [
        "tokens.jwks_retry_s", "tokens.issuers", "tokens.issuers[0].algorithms", "tokens.issuers[0].jwks_url", "tokens.issuers[1]",
    ]  # fmt: skip


# ---------------------------------------------------------------- fetching


class Provider:
    """An issuer's key server."""

    def __init__(self) -> None:
        self.answer: Callable[[], web.Response] = lambda: web.json_response(ALL)
        self.asked = 0

    async def serve(self, _: web.Request) -> web.Response:
        self.asked += 1
        return self.answer()


class Fetching(KeyFetcher):
    """A fetcher with short times, and what it told."""

    def __init__(self, url: str, **times: float) -> None:
        self.changes = 0
        times = {"jwks_refresh_s": 0.05, "jwks_retry_s": 0.01, "jwks_stale_s": 60.0} | times
        super().__init__(TokensConfig(issuers=[IssuerConfig(ISSUER, url, "chat")], **times), self._on_change)
        self.issuer = self.issuers.by_name[ISSUER]

    def _on_change(self) -> None:
        self.changes += 1

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.005)


@pytest.fixture
async def provider() -> AsyncIterator[tuple[Provider, str]]:
    provider, app = Provider(), web.Application()
    app.router.add_get("/jwks", provider.serve)
    server = TestServer(app)
    await server.start_server()
    yield provider, f"http://127.0.0.1:{server.port}/jwks"
    await server.close()


async def test_keys_are_fetched_and_fetched_again(provider: tuple[Provider, str]) -> None:
    server, url = provider
    fetcher = Fetching(url)
    fetcher.start()
    await fetcher.until(lambda: len(fetcher.issuer.keys) == 3)
    server.answer = lambda: web.json_response({"keys": ALL["keys"][:1]})
    await fetcher.until(lambda: len(fetcher.issuer.keys) == 1)
    assert (fetcher.changes, fetcher.failures) == (2, 0)
    await fetcher.stop()


async def test_a_wanted_key_is_fetched_soon_but_no_more_often_than_told(provider: tuple[Provider, str]) -> None:
    server, url = provider
    fetcher = Fetching(url, jwks_refresh_s=100.0, jwks_retry_s=0.2, jwks_stale_s=1_000.0)
    fetcher.start()
    await fetcher.until(lambda: server.asked == 1)
    for _ in range(1_000):
        fetcher.want(ISSUER)
    await asyncio.sleep(0.05)
    assert server.asked == 1
    await fetcher.until(lambda: server.asked == 2)
    await asyncio.sleep(0.3)
    assert server.asked == 2, "nobody wanted any since"
    await fetcher.stop()


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=500),
        lambda: web.Response(text="{"),
        lambda: web.json_response([]),
        lambda: web.Response(text='{"keys":' + "[" * 50_000),
        lambda: web.Response(body=b" " * (jwks.DOCUMENT_BYTES_MAX + 1)),
        lambda: web.Response(status=302, headers={"Location": "/jwks"}),
    ],
    ids=["error", "no JSON", "no key set", "too deep", "too long", "elsewhere"],
)
async def test_a_bad_answer_leaves_the_keys_as_they_are_until_they_are_stale(
    provider: tuple[Provider, str], answer: Callable[[], web.Response]
) -> None:
    server, url = provider
    fetcher = Fetching(url, jwks_stale_s=0.3)
    fetcher.start()
    await fetcher.until(lambda: len(fetcher.issuer.keys) == 3)
    server.answer = answer
    await fetcher.until(lambda: fetcher.failures >= 2)
    assert len(fetcher.issuer.keys) == 3
    await fetcher.until(lambda: fetcher.issuer.keys == {})
    server.answer = lambda: web.json_response(ALL)
    await fetcher.until(lambda: len(fetcher.issuer.keys) == 3)
    assert fetcher.changes == 3
    await fetcher.stop()
