"""People of another issuer come in through a real node, and chat with people who have accounts."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from homing import codes

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, eventually
from tests.integration.rest_client import Person

ISSUER = "https://login.example"


class Provider:
    """An issuer with one key, and its key server on this machine."""

    def __init__(self) -> None:
        self.kid, self.key = "k1", Ed25519PrivateKey.generate()
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"keys": [provider.public()]}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/jwks"

    def public(self) -> dict[str, object]:
        data = json.loads(jwt.get_algorithm_by_name("EdDSA").to_jwk(self.key.public_key()))
        return {**data, "kid": self.kid, "alg": "EdDSA", "use": "sig"}

    def rotate(self) -> None:
        self.kid, self.key = "k2", Ed25519PrivateKey.generate()

    def token(self, subject: str, **changes: object) -> str:
        now = int(time.time())
        payload = {"iss": ISSUER, "aud": "chat", "sub": subject, "iat": now, "exp": now + 600, "sid": "s"}
        payload["name"] = f"{subject} of elsewhere"
        return jwt.encode(payload | changes, self.key, "EdDSA", headers={"kid": self.kid})


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    thread = threading.Thread(target=provider.server.serve_forever)
    thread.start()
    yield provider
    provider.server.shutdown()
    thread.join()
    provider.server.server_close()


def test_people_of_another_issuer_chat_and_its_keys_rotate(provider: Provider, start_cluster: Callable[..., ClusterProcess]) -> None:
    cluster = start_cluster(nodes=1)
    file = cluster.layout.config_file("node-1")
    trusted = f'[tokens]\njwks_retry_s = 0.2\n[[tokens.issuers]]\nissuer = "{ISSUER}"\njwks_url = "{provider.url}"\naudience = "chat"\n'
    file.write_text(file.read_text() + trusted)
    old = cluster.kill("node-1", signal.SIGTERM)
    cluster.wait_restarted("node-1", old)
    alice, guest = Person(cluster), Person(cluster)
    alice.register()
    eventually(lambda: guest.ask("GET", "/v1/conversations", token=provider.token("Guest|1")).status == 200)

    with Device(cluster, 0, hello=False) as device:
        device.put({"op": "hello", "token": provider.token("Guest|1")})
        welcome = device.expect("welcome")
        assert welcome["name"] == "Guest|1 of elsewhere"
        device.expect("synced")
        device.say(alice.session["user"], "from elsewhere")
        got = alice.ask("GET", f"/v1/conversations/{welcome['user']}/messages").is_(200)
        assert [entry["body"] for entry in got["entries"]] == ["from elsewhere"]
    guest.ask("GET", "/v1/conversations", token=provider.token("Guest|1", aud="mail")).refuses(401, codes.TOKEN_INVALID)
    guest.ask("GET", "/v1/me", token=provider.token("Guest|1")).refuses(404, codes.NOT_FOUND)

    old_token = provider.token("Guest|1")
    provider.rotate()
    new_token = provider.token("Guest|1")
    first = guest.ask("GET", "/v1/conversations", token=new_token)
    assert first.status == 200 or first.refuses(503, codes.UNAVAILABLE).headers["Retry-After"]
    eventually(lambda: guest.ask("GET", "/v1/conversations", token=new_token).status == 200)
    assert guest.ask("GET", "/v1/conversations", token=old_token).status == 503, "its key is gone; nobody knows it will not come back"
