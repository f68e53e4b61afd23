"""Fixtures of the contract tier: real servers, started when a test asks for the first time, one for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cassandra_rig import CassandraServer, Scratch, server


@pytest.fixture(scope="session")
def cassandra(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CassandraServer]:
    with server(tmp_path_factory.mktemp("cassandra")) as started:
        yield started


@pytest.fixture(scope="session")
def scratch(cassandra: CassandraServer) -> Iterator[Scratch]:
    made = Scratch(cassandra)
    yield made
    made.close()
