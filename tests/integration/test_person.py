"""People are shown by the names in their own tokens."""

from __future__ import annotations

from homing import codes, ids

from tests.integration.conftest import ClusterProcess
from tests.integration.raw_homing import Device, fresh


def test_a_persons_name_is_told_by_his_home_to_whoever_asks(shared_cluster: ClusterProcess) -> None:
    name = fresh("Grüße")
    with Device(shared_cluster, 0, name), Device(shared_cluster, 1) as bob:
        answer = bob.ask("fetch_person", user=ids.user_id(name))
        assert answer == {"op": "person", "id": answer["id"], "user": ids.user_id(name), "name": name}


def test_nobody_knows_who_has_never_been_here_and_a_group_is_nobody(shared_cluster: ClusterProcess) -> None:
    with Device(shared_cluster, 0) as bob:
        assert bob.ask("fetch_person", user=ids.user_id(fresh("nobody"))).get("name", "") == ""
        bob.refused(codes.INVALID, "user", "fetch_person", user=ids.group_id(b"0123456789abcdef"))
        bob.refused(codes.INVALID, "user", "fetch_person", user="x")
