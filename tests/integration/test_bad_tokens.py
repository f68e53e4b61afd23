"""Tokens that are not good: each is refused with its own code, at the WebSocket and over HTTP; and devices that were revoked."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from homing import codes, ids

from node.edge.tokens import TokenAuthority, rotate
from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, eventually, fresh, port_of, unharmed
from tools import cli

Claims = dict[str, object]
MALLORY = "mallory"


def claims(cluster: ClusterProcess, **changes: object) -> Claims:
    now = int(time.time())
    good: Claims = {
        "iss": cluster.layout.cluster_name(), "sub": ids.user_id(MALLORY), "device": "phone", "name": MALLORY, "iat": now,
        "exp": now + 600, "jti": "0123456789",
    }  # fmt: skip
    return {key: value for key, value in (good | changes).items() if value is not ...}


def signing_key(cluster: ClusterProcess) -> tuple[str, Ed25519PrivateKey]:
    """The cluster's own key and its number: what a token says is tried with a signature that is good."""
    (path,) = cluster.layout.token_keys_dir.glob("*.key.pem")
    key = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return path.name.removesuffix(".key.pem"), key


def signed(cluster: ClusterProcess, **changes: object) -> str:
    kid, key = signing_key(cluster)
    return jwt.encode(claims(cluster, **changes), key, "EdDSA", headers={"kid": kid})


def unsigned(cluster: ClusterProcess, header: dict[str, object], **changes: object) -> str:
    """Header and claims put together by hand, with an empty signature."""
    parts = (json.dumps(part).encode() for part in (header, claims(cluster, **changes)))
    return ".".join([*(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts), ""])


def with_own_key(cluster: ClusterProcess) -> str:
    kid, _ = signing_key(cluster)
    return jwt.encode(claims(cluster), Ed25519PrivateKey.generate(), "EdDSA", headers={"kid": kid})


def with_public_key_as_secret(cluster: ClusterProcess) -> str:
    """The old trick: the public key, which everybody may know, taken for the secret of an HMAC."""
    kid, key = signing_key(cluster)
    secret = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return jwt.encode(claims(cluster), secret, "HS256", headers={"kid": kid})


def with_rsa(cluster: ClusterProcess) -> str:
    kid, _ = signing_key(cluster)
    return jwt.encode(claims(cluster), generate_private_key(65537, 2048), "RS256", headers={"kid": kid})


def tampered(cluster: ClusterProcess) -> str:
    head, _, signature = signed(cluster).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims(cluster, sub=ids.user_id("victim"))).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def of_other_cluster(cluster: ClusterProcess) -> str:
    return signed(cluster, iss="homing-of-somebody-else")


def with_header(**header: object) -> Callable[[ClusterProcess], str]:
    return lambda cluster: unsigned(cluster, header)


def with_claims(**changes: object) -> Callable[[ClusterProcess], str]:
    return lambda cluster: signed(cluster, **changes)


def text(value: str) -> Callable[[ClusterProcess], str]:
    return lambda _: value


INVALID: dict[str, Callable[[ClusterProcess], str]] = {
    "of another cluster": of_other_cluster,
    "signed by another key": with_own_key,
    "alg none": with_header(alg="none", kid="1"),
    "alg NONE": with_header(alg="NONE", kid="1"),
    "alg none without a kid": with_header(alg="none"),
    "the public key as a secret": with_public_key_as_secret,
    "another algorithm": with_rsa,
    "tampered": tampered,
    "unknown kid": with_header(alg="EdDSA", kid="999"),
    "a path as kid": with_header(alg="EdDSA", kid="../../etc/passwd"),
    "a number as kid": with_header(alg="EdDSA", kid=1),
    "a list as kid": with_header(alg="EdDSA", kid=["1"]),
    "empty": text(""),
    "dots": text(".."),
    "no base64": text("!.?.é"),
    "NULs": text("\0.\0.\0"),
    "as long as may be": text("a" * 4_096),
    "a group's id": with_claims(sub=ids.group_id(b"0123456789abcdef")),
    "a direct conversation's id": with_claims(sub=ids.direct_id(ids.user_id("a"), ids.user_id("b"))),
    "no id": with_claims(sub="mallory"),
    "no user": with_claims(sub=...),
    "a number as user": with_claims(sub=5),
    "no device": with_claims(device=...),
    "a strange device": with_claims(device="../phone"),
    "an empty device": with_claims(device=""),
    "a long device": with_claims(device="x" * 65),
    "a long name": with_claims(name="x" * 129),
    "no name": with_claims(name=...),
    "no time limit": with_claims(exp=...),
    "a text as time limit": with_claims(exp="never"),
    "a truth as time limit": with_claims(exp=True),
    "no id of its own": with_claims(jti=...),
    "nothing of when it was issued": with_claims(iat=...),
    "valid for too long": with_claims(exp=2**31),
}


@pytest.mark.parametrize("name", INVALID)
def test_a_token_that_is_not_good_is_refused(shared_cluster: ClusterProcess, name: str) -> None:
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": INVALID[name](shared_cluster)})
        session.expect_error(codes.TOKEN_INVALID, "token")
        session.expect_close(codes.CLOSE_SIGN_IN)


def test_the_same_made_as_it_should_be_is_let_in(shared_cluster: ClusterProcess) -> None:
    """Or the tests above would prove nothing."""
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": signed(shared_cluster)})
        assert session.expect("welcome")["user"] == ids.user_id(MALLORY)


@pytest.mark.parametrize("exp", [0, -1, 1, int(time.time()) - 1])
def test_an_expired_token_has_a_code_of_its_own(shared_cluster: ClusterProcess, exp: int) -> None:
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": signed(shared_cluster, exp=exp)})
        session.expect_error(codes.TOKEN_EXPIRED, "token")
        session.expect_close(codes.CLOSE_SIGN_IN)


def test_a_token_that_expires_is_refused_from_then_on_although_it_was_remembered(shared_cluster: ClusterProcess) -> None:
    token = signed(shared_cluster, exp=int(time.time()) + 2)
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": token})
        session.expect("welcome")
    time.sleep(2.2)
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": token})
        session.expect_error(codes.TOKEN_EXPIRED, "token")


def test_keys_of_another_directory_open_nothing(shared_cluster: ClusterProcess, tmp_path: Path) -> None:
    rotate(tmp_path / "tokens")
    foreign = TokenAuthority(tmp_path / "tokens", shared_cluster.layout.cluster_name())
    with Device(shared_cluster, hello=False) as session:
        session.put({"op": "hello", "token": foreign.sign(ids.user_id(MALLORY), "phone", MALLORY, time.time(), 600)})
        session.expect_error(codes.TOKEN_INVALID, "token")


def test_many_bad_tokens_disturb_nobody(shared_cluster: ClusterProcess) -> None:
    token = with_own_key(shared_cluster)
    with unharmed(shared_cluster, grown_bytes_max=32 << 20):
        for n in range(200):
            with Device(shared_cluster, hello=False) as session:
                session.put({"op": "hello", "token": token if n % 2 else f"{token}{n}"})
                session.expect_error(codes.TOKEN_INVALID, "token")


# ---------------------------------------------------------------- over HTTP


def connect(cluster: ClusterProcess, authorization: str | None) -> tuple[int, dict[str, object]]:
    headers = {} if authorization is None else {"Authorization": authorization}
    request = urllib.request.Request(f"http://127.0.0.1:{port_of(cluster, 0)}/v1/connect", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_discovery_asks_for_the_same_token(shared_cluster: ClusterProcess) -> None:
    status, answer = connect(shared_cluster, f"Bearer {signed(shared_cluster)}")
    assert status == 200 and answer["user"] == ids.user_id(MALLORY)
    bad = [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Basic eDp5",
        f"Basic {signed(shared_cluster)}",
        "Bearer x y",
        "Bearer \xe9",
        "Bearer \xff.\xff.\xff",
        f"Bearer {with_own_key(shared_cluster)}",
    ]
    for authorization in bad:
        status, answer = connect(shared_cluster, authorization)
        assert (status, answer["code"], answer["title"]) == (401, codes.TOKEN_INVALID.number, "token_invalid"), authorization
    status, answer = connect(shared_cluster, f"Bearer {signed(shared_cluster, exp=1)}")
    assert (status, answer["code"]) == (401, codes.TOKEN_EXPIRED.number)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer x", "Bearer \xe9", "x" * 4_000])
def test_operators_tools_are_shown_nothing_without_their_key(shared_cluster: ClusterProcess, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    request = urllib.request.Request(f"http://127.0.0.1:{port_of(shared_cluster, 0)}/debug/trace?message=x", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as error:
        assert error.code == 401


# ---------------------------------------------------------------- revoked devices


def ops(cluster: ClusterProcess, node: int, path: str, key: str | None = None) -> tuple[int, dict[str, object]]:
    """``POST`` with the operators' key, or another: status and answer."""
    key = key if key is not None else cluster.layout.ops_key_file.read_text().strip()
    url = f"http://127.0.0.1:{port_of(cluster, node)}{path}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"", {"Authorization": f"Bearer {key}"}), timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def is_refused(cluster: ClusterProcess, node: int, name: str, device: str) -> None:
    with Device(cluster, node, name, device, hello=False) as again:
        again.put({"op": "hello", "token": again.token()})
        again.expect_error(codes.DEVICE_REVOKED)
        again.expect_close(codes.CLOSE_SIGN_IN)
        assert not again.received, "it was told nothing"


@pytest.mark.parametrize("through", range(3))
def test_a_device_that_is_revoked_is_gone_from_every_node_at_once_and_does_not_come_back(
    shared_cluster: ClusterProcess, through: int
) -> None:
    """Its sessions are somewhere, its user's home is elsewhere, and any node takes the request."""
    name = fresh("revoked")
    where = (through + 1) % 3
    with Device(shared_cluster, 0, name, "kept") as kept, Device(shared_cluster, where, name, "lost") as lost:
        began = time.monotonic()
        status, answer = ops(shared_cluster, through, f"/debug/revoke?user={lost.user}&device=lost")
        assert (status, answer["device"]) == (200, "lost")
        lost.expect_error(codes.DEVICE_REVOKED)
        lost.expect_close(codes.CLOSE_SIGN_IN)
        assert time.monotonic() - began < 2
        for node in range(3):
            is_refused(shared_cluster, node, name, "lost")
        kept.is_alive()


def test_the_operators_command_revokes_and_a_device_stays_revoked_when_its_home_is_killed(cluster: ClusterProcess) -> None:
    name = fresh("revoked")
    with Device(cluster, 0, name, "kept"), Device(cluster, 1, name, "lost") as lost:
        assert cli.main(["revoke", "--user", name, "--device", "lost", "--data", str(cluster.data)]) == 0
        lost.expect_error(codes.DEVICE_REVOKED)
    with urllib.request.urlopen(f"{cluster.url}/v1/connect?user={ids.user_id(name)}", timeout=10) as answer:
        url = json.loads(answer.read())["home"]
    (home,) = (part.name for part in cluster.layout.parts() if part.role == "node" and url.endswith(f":{part.http_port}"))
    pid = cluster.kill(home)
    cluster.wait_restarted(home, pid)
    for node in range(3):
        is_refused(cluster, node, name, "lost")
    Device(cluster, 2, name, "kept").close()


def test_a_revoked_device_that_has_no_account_behind_it_is_refused_by_rest_too(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0, fresh("revoked"), "lost") as lost:
        headers = {"Authorization": f"Bearer {lost.token()}"}
        url = f"http://127.0.0.1:{port_of(shared_cluster, 1)}/v1/conversations"
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            assert answer.status == 200
        assert ops(shared_cluster, 2, f"/debug/revoke?user={lost.user}&device=lost")[0] == 200
        eventually(lambda: rest_refuses(url, headers))


def rest_refuses(url: str, headers: dict[str, str]) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10).close()
    except urllib.error.HTTPError as error:
        with error:
            return bool(error.code == 401 and json.loads(error.read())["title"] == "device_revoked")
    return False


def test_a_device_is_revoked_while_nobody_is_there(shared_cluster: ClusterProcess) -> None:
    name = fresh("revoked")
    assert ops(shared_cluster, 0, f"/debug/revoke?user={ids.user_id(name)}&device=lost")[0] == 200
    is_refused(shared_cluster, 1, name, "lost")
    Device(shared_cluster, 2, name, "kept").close()


@pytest.mark.parametrize("path", ["", "?user=x&device=lost", f"?user={ids.user_id('a')}&device=", f"?user={ids.user_id('a')}&device=a/b"])
def test_only_a_device_of_a_user_can_be_revoked_and_only_by_operators(shared_cluster: ClusterProcess, path: str) -> None:
    assert ops(shared_cluster, 0, f"/debug/revoke{path}")[0] == 400
    assert ops(shared_cluster, 0, f"/debug/revoke?user={ids.user_id(MALLORY)}&device=phone", "wrong")[0] == 401
