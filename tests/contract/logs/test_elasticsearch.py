"""A real Elasticsearch: it means the same by a query as the embedded store, and it takes what the simulated cluster writes."""

import json
import time

import httpx
import pytest

from pveops.clients.logs.elastic import ElasticLogs
from pveops.clients.logs.language import parse
from tests.contract.logs.test_one_meaning import DAY_MS, LINES, QUERIES, START_MS, expected
from tests.contract.sim.conftest import start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
INDEX = "pve-simulated"


def test_one_query_has_one_meaning(elasticsearch, elastic, embedded, monkeypatch):
    assert elastic.add(LINES) == len(LINES)
    assert elastic.add(LINES[:50]) == 0
    elastic.settle()
    wrong = {}
    for text in QUERIES:
        found = elastic.search(parse(text), START_MS, START_MS + DAY_MS, 1000)
        if {line.uid for line in found.lines} != expected(text) or found.total != len(expected(text)):
            wrong[text] = (len(found.lines), len(expected(text)))
    assert not wrong
    newest = elastic.search(parse("*"), START_MS, START_MS + DAY_MS, 3).lines
    assert newest == tuple(sorted(LINES, key=lambda line: -line.time_ms)[:3])
    monkeypatch.setattr("pveops.clients.logs.elastic._PAGE", 48)
    paged = [elastic.search(parse("*"), START_MS, START_MS + DAY_MS, limit) for limit in (47, 48, 96, 100, 1000)]
    assert [len(found.lines) for found in paged] == [47, 48, 96, 100, len(LINES)]
    assert {found.total for found in paged} == {len(LINES)}
    assert {line.uid for line in paged[-1].lines} == {line.uid for line in LINES}
    again = ElasticLogs(elasticsearch)  # its indices are there already
    assert again.search(parse("task:*"), START_MS, START_MS + DAY_MS, 5).total == len(expected("task:*"))
    again.close()
    embedded.add(LINES)
    for by in ("", "severity", "host", "source"):
        spans = (START_MS - 500, START_MS + 4_000_000, 250_000, by)
        assert elastic.count(parse("error"), *spans).counts == embedded.count(parse("error"), *spans).counts


class Server:
    """What a plain client sees of the server."""

    def __init__(self, url):
        self._client = httpx.Client(base_url=url, trust_env=False, timeout=30)

    def count(self, query=None):
        self._client.post(f"/{INDEX}/_refresh")
        answer = self._client.post(f"/{INDEX}/_count", json={"query": query} if query else {})
        return answer.json()["count"] if answer.status_code == 200 else 0

    def documents(self):
        answer = self._client.post(f"/{INDEX}/_search", json={"size": 10_000})
        return [hit["_source"] for hit in answer.json()["hits"]["hits"]]

    def kind_of(self, field):
        found = self._client.get(f"/{INDEX}/_mapping").json()[INDEX]["mappings"]["properties"]
        for part in field.split("."):
            found = found[part].get("properties", found[part])
        return found["type"]

    def close(self):
        self._client.close()


@pytest.fixture
def server(elasticsearch):
    found = Server(elasticsearch)
    yield found
    found.close()


def written(folder, url, server, known=()):
    """Let a simulated cluster write for two hours into a file and into the server, beside what is known there; the documents of the file."""
    folder.mkdir()
    places = ["--elasticsearch", url, "--index", INDEX, "--log-file", str(folder / "lines")]
    sim = start(folder, "--seed", "11", "--start-s", "1795262400", "--speed", "0.01", *places)
    try:
        upid = sim.data("POST", "/nodes/pve1/qemu/101/snapshot", snapname="one")
        assert sim.task_end(upid) == "OK"
        sim.advance(7200)
        deadline = time.monotonic() + 120
        while len(rows := documents(folder / "lines")) < 500 or server.count() < len({*texts(known), *texts(rows)}):
            assert time.monotonic() < deadline, (folder / "stderr").read_text()
            time.sleep(0.5)
    finally:
        sim.stop()
    assert "elasticsearch" not in (folder / "stderr").read_text(), "nothing was refused, and nobody was away"
    return documents(folder / "lines")


def documents(file):
    """The whole lines of a file."""
    text = file.read_text() if file.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def texts(rows):
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


def test_the_simulated_cluster_writes_each_line_once(elasticsearch, server, tmp_path):
    first = written(tmp_path / "first", elasticsearch, server)
    assert server.count() == len(first) > 500
    assert texts(server.documents()) == texts(first)
    assert server.kind_of("@timestamp") == "date"
    assert server.kind_of("log.syslog.severity.code") == "long"
    span = {"range": {"@timestamp": {"gte": first[100]["@timestamp"], "lt": first[300]["@timestamp"]}}}
    assert server.count(span) == sum(first[100]["@timestamp"] <= row["@timestamp"] < first[300]["@timestamp"] for row in first)
    assert server.count({"match_phrase": {"message": "starting task"}}) == sum("starting task" in row["message"] for row in first) > 0
    assert server.count({"term": {"host.name.keyword": "pve2"}}) == sum(row["host"]["name"] == "pve2" for row in first)

    again = written(tmp_path / "again", elasticsearch, server, first)
    same = set(texts(first)) & set(texts(again))
    assert len(same) > 400
    assert server.count() == len(set(texts(first)) | set(texts(again)))
