"""Tokens: who may come in, rotation of keys, and that a reconnect costs no second signature check."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import jwt
import pytest
from homing import codes, ids
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.edge.tokens import LIFETIME_S_MAX, Claims, TokenAuthority, TokenChecker, TokenError, rotate

ALICE = ids.user_id("alice")
NOW = 1_700_000_000.0


@pytest.fixture
def authority(tmp_path: Path) -> TokenAuthority:
    return TokenAuthority(tmp_path / "keys", "cell-1")


@pytest.fixture
def checker(authority: TokenAuthority, tmp_path: Path) -> TokenChecker:
    return TokenChecker(tmp_path / "keys", "cell-1")


def sign(authority: TokenAuthority, lifetime_s: float = 60) -> str:
    return authority.sign(ALICE, "phone", "Alice", NOW, lifetime_s)


def refused(checker: TokenChecker, token: str, now: float = NOW) -> TokenError:
    with pytest.raises(TokenError) as caught:
        checker.check(token, now)
    return caught.value


def forged(authority: TokenAuthority, header: dict[str, object] | None = None, **changes: object) -> str:
    payload = {"iss": "cell-1", "sub": ALICE, "device": "phone", "name": "A", "iat": int(NOW)}
    payload |= {"exp": int(NOW) + 60, "jti": "x"} | changes
    payload = {key: value for key, value in payload.items() if value is not None}
    return jwt.encode(payload, authority._key, "EdDSA", headers={"kid": authority.kid} if header is None else header)


def test_a_token_names_user_and_device(authority: TokenAuthority, checker: TokenChecker) -> None:
    claims = checker.check(sign(authority), NOW)
    assert claims == Claims(ALICE, "phone", "Alice", int(NOW) + 60, claims.jti)
    assert checker.check(sign(authority), NOW).jti != claims.jti


def test_it_is_valid_until_its_time_and_no_longer_also_from_the_cache(authority: TokenAuthority, checker: TokenChecker) -> None:
    token = sign(authority)
    checker.check(token, NOW + 59)
    assert refused(checker, token, NOW + 60).code == codes.TOKEN_EXPIRED
    assert refused(checker, token, NOW + 60).code == codes.TOKEN_EXPIRED


def test_a_reconnect_checks_no_signature(authority: TokenAuthority, checker: TokenChecker) -> None:
    token = sign(authority)
    for _ in range(5):
        checker.check(token, NOW)
    assert (checker.verified, checker.remembered) == (1, 4)


def test_the_cache_is_bounded(authority: TokenAuthority, tmp_path: Path) -> None:
    checker = TokenChecker(tmp_path / "keys", "cell-1", cache_entries_max=2)
    first = sign(authority)
    for token in (first, sign(authority), sign(authority), first):
        checker.check(token, NOW)
    assert checker.verified == 4


def test_a_token_of_another_cluster_is_refused(authority: TokenAuthority, tmp_path: Path) -> None:
    checker = TokenChecker(tmp_path / "keys", "cell-2")
    error = refused(checker, sign(authority))
    assert error.code == codes.TOKEN_INVALID and "another cluster" in error.message


def test_a_key_of_another_cluster_is_refused(checker: TokenChecker, tmp_path: Path) -> None:
    assert refused(checker, sign(TokenAuthority(tmp_path / "others", "cell-1"))).code == codes.TOKEN_INVALID


def test_a_changed_token_is_refused(authority: TokenAuthority, checker: TokenChecker) -> None:
    head, payload, signature = sign(authority).split(".")
    body = json.loads(base64.urlsafe_b64decode(payload + "=="))
    body["sub"] = ids.user_id("mallory")
    changed = base64.urlsafe_b64encode(json.dumps(body).encode()).rstrip(b"=").decode()
    assert refused(checker, f"{head}.{changed}.{signature}").code == codes.TOKEN_INVALID


def test_no_other_algorithm_counts(authority: TokenAuthority, checker: TokenChecker, tmp_path: Path) -> None:
    payload = {"iss": "cell-1", "sub": ALICE, "device": "d", "name": "", "exp": int(NOW) + 60, "jti": "x"}
    public = (tmp_path / "keys" / "1.pub.pem").read_bytes()
    none = jwt.encode(payload, None, "none", headers={"kid": "1"})  # type: ignore[arg-type]  # an attacker's token
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"1","typ":"JWT"}').rstrip(b"=").decode()
    body = none.split(".")[1]
    mac = jwt.get_algorithm_by_name("HS256")
    signature = base64.urlsafe_b64encode(mac.sign(f"{head}.{body}".encode(), public)).rstrip(b"=").decode()
    for token in (none, f"{head}.{body}.{signature}"):
        assert refused(checker, token).code == codes.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes",
    [{"sub": None}, {"sub": "alice"}, {"sub": ids.group_id(bytes(16))}, {"device": None}, {"device": ""}, {"device": "a b"},
     {"device": "x" * 65}, {"name": None}, {"name": "x" * 129}, {"exp": None}, {"exp": True}, {"jti": None}, {"jti": ""}, {"iss": None},
     {"iat": None}, {"iat": True}, {"iat": "1"}, {"iat": int(NOW) + 59 - LIFETIME_S_MAX}],
)  # fmt: skip
def test_a_signed_token_with_a_wrong_claim_is_refused(authority: TokenAuthority, checker: TokenChecker, changes: dict[str, object]) -> None:
    assert checker.check(forged(authority, None, iat=int(NOW) + 60 - LIFETIME_S_MAX), NOW).user == ALICE, "what is not changed is right"
    assert refused(checker, forged(authority, None, **changes)).code == codes.TOKEN_INVALID


def test_a_new_key_signs_and_old_tokens_stay_valid_until_their_key_is_deleted(
    authority: TokenAuthority, checker: TokenChecker, tmp_path: Path
) -> None:
    keys, old = tmp_path / "keys", sign(authority, 1000)
    checker.check(old, NOW)
    assert rotate(keys) == 2
    newer = TokenAuthority(keys, "cell-1")
    assert newer.kid == "2" and not (keys / "1.key.pem").exists()
    assert checker.check(sign(newer, 1000), NOW + 2).user == ALICE  # an unknown kid has the directory read again
    assert checker.check(old, NOW + 2).user == ALICE
    (keys / "1.pub.pem").unlink()
    assert refused(checker, old, NOW + 40).code == codes.TOKEN_INVALID


def test_unknown_kids_do_not_have_the_directory_read_each_time(
    authority: TokenAuthority, checker: TokenChecker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read_keys = checker._read_keys

    def counting(now: float) -> None:
        nonlocal reads
        reads += 1
        read_keys(now)

    monkeypatch.setattr(checker, "_read_keys", counting)
    for n in range(100):
        refused(checker, forged(authority, {"kid": f"x{n}"}), NOW + n / 100)
    assert reads == 1


def test_a_broken_key_file_spoils_only_its_own_tokens(authority: TokenAuthority, checker: TokenChecker, tmp_path: Path) -> None:
    (tmp_path / "keys" / "7.pub.pem").write_text("no key")
    assert checker.check(sign(authority), NOW).user == ALICE
    assert refused(checker, forged(authority, {"kid": "7"})).code == codes.TOKEN_INVALID


def test_the_private_key_is_readable_by_its_owner_only(authority: TokenAuthority, tmp_path: Path) -> None:
    assert (tmp_path / "keys" / "1.key.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys").stat().st_mode & 0o077 == 0


def test_what_would_not_be_accepted_is_not_signed(authority: TokenAuthority) -> None:
    with pytest.raises(TokenError):
        authority.sign("alice", "phone", "Alice", NOW, 60)


@given(st.text(max_size=100) | st.lists(st.text(max_size=30), max_size=4).map(".".join) | st.just("x" * 5000))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_of_any_kind_gives_a_token_error(checker: TokenChecker, text: str) -> None:
    assert refused(checker, text).code == codes.TOKEN_INVALID


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner), max_leaves=5))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_headers_of_any_kind_give_a_token_error(checker: TokenChecker, header: object) -> None:
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    assert refused(checker, f"{head}.e30.AAAA").code == codes.TOKEN_INVALID
