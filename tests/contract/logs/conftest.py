"""The stores of log lines: one file, and a real Elasticsearch."""

import pytest

from pveops.clients.logs.elastic import ElasticLogs
from pveops.clients.logs.embedded import EmbeddedLogs


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    store = EmbeddedLogs(tmp_path_factory.mktemp("logs") / "logs.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def elastic(elasticsearch):
    store = ElasticLogs(elasticsearch)
    yield store
    store.close()
